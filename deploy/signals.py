"""A run that Ctrl-C and SIGTERM end as its duration would."""

import signal

import ray.exceptions
import redis

from common.errors import RunError
from common.status import RunStatus
from deploy.driver import Driver


def run_until_signalled(driver: Driver) -> RunStatus:
    """Executes a run; Ctrl-C and SIGTERM end it as its duration would.

    Raises:
        EngramError: As `Driver.execute`.
    """
    handled = (signal.SIGINT, signal.SIGTERM)

    def stop(_number: int, _frame: object) -> None:
        driver.stop()

    before = {number: signal.signal(number, stop) for number in handled}
    try:
        return driver.execute()
    except (redis.RedisError, ray.exceptions.RayError, OSError) as error:
        raise RunError(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
