"""A camera on the network: JPEG pictures over HTTP, as many cameras send them and OpenCV opens them."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import override

import numpy as np
import simplejpeg


class Station:
    """A camera of 30 pictures a second, each of another grey.

    Attributes:
        stuck: Shows one picture over and over.
        paint: Colour of all pictures instead of the changing grey.
    """

    def __init__(self, port: int = 0) -> None:
        station = self

        class Handler(BaseHTTPRequestHandler):
            @override
            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
                self.end_headers()
                while not station.closed.is_set():
                    data = station.picture()
                    head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + data + b"\r\n")
                    except OSError:
                        return
                    time.sleep(1 / 30)

        self.closed = threading.Event()
        self.stuck = False
        self.paint: int | None = None
        self._shown = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}/camera.mjpg"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def picture(self) -> bytes:
        if not self.stuck:
            self._shown += 1
        grey = 60 + 7 * (self._shown % 24) if self.paint is None else self.paint
        return simplejpeg.encode_jpeg(np.full((360, 640, 3), grey, np.uint8), colorsubsampling="444")

    def close(self) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
