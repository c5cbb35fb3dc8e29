"""The learner's GPU: whether it is there, whether torch can use it, and whether the networks fit."""

import shutil
import subprocess

from deploy.doctor.finding import Case, Check, Verdict, beside, fine, poor, wrong
from deploy.memory import checkpoint_bytes, encoder_floats, gib, predictor_floats

_TOOL = "nvidia-smi"


def driver() -> list[str]:
    """What NVIDIA's driver says of each GPU: name and driver version; empty where there is no driver."""
    if shutil.which(_TOOL) is None:
        return []
    asked = [_TOOL, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=8, check=False)
    return [line.strip() for line in said.stdout.splitlines() if line.strip()] if said.returncode == 0 else []


def _look_at_device(case: Case) -> Verdict:
    import torch

    if case.run.cluster:
        return beside("the learner is on the cluster")
    from deploy.execution import check_device

    check_device(case.run)
    there = driver()
    if not torch.cuda.is_available():
        if there and case.run.learner.device != "cpu":
            why = "torch is a build for CPUs" if torch.version.cuda is None else "torch cannot use it"
            fix = "install torch for CUDA" if torch.version.cuda is None else "update the driver"
            return poor(f"{why}: {there[0]}", f"{fix} (`nvidia-smi` shows its version), or learner.device cpu")
        return fine(f"none; torch {torch.__version__} trains on CPUs")
    if case.run.learner.device == "cpu":
        return beside("learner.device = cpu")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    version = there[0].rpartition(", ")[2] if there else "unknown"
    return fine(f"{', '.join(names)}; driver {version}, torch {torch.__version__}")


def _look_at_abilities(case: Case) -> Verdict:
    import torch

    if case.run.cluster or case.run.learner.device == "cpu" or not torch.cuda.is_available():
        return beside("no GPU is used here")
    major, minor = torch.cuda.get_device_capability()
    built = torch.cuda.get_arch_list()
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return poor(f"compute capability {major}.{minor} has no bfloat16", "a GPU from Ampere (8.0) on is far faster")
    torch.zeros(8, device="cuda").sum().item()  # a build without kernels for this GPU fails here
    return fine(f"compute capability {major}.{minor}, bfloat16; torch is built for {' '.join(built)}")


def _look_at_memory(case: Case) -> Verdict:
    import torch

    if case.run.cluster or case.run.learner.device == "cpu" or not torch.cuda.is_available():
        return beside("no GPU is used here")
    model = case.run.learner.model
    gradients = 4 * (encoder_floats(model) + predictor_floats(model))
    needed = checkpoint_bytes(case.run) + gradients
    free, total = torch.cuda.mem_get_info()
    said = f"{gib(free)} of {gib(total)} are free; networks, moments and gradients take {gib(needed)}"
    if needed > free:
        return wrong(said, "a smaller learner.model, or end what else uses the GPU (`nvidia-smi`)")
    if 2 * needed > free:
        return poor(f"{said}, a batch comes on top", "learner.checkpoint_activations, or a smaller batch_size")
    return fine(f"{said}, a batch comes on top")


CHECKS = (
    Check(name="gpu", look=_look_at_device, patience=30.0),
    Check(name="gpu abilities", look=_look_at_abilities, patience=20.0),
    Check(name="gpu memory", look=_look_at_memory),
)
