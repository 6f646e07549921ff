"""Host-to-device copies of numbers; non-blocking on CUDA."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def sent(numbers: Sequence, device: torch.device) -> torch.Tensor:
    """Numbers, as a tensor of a device; on a GPU nobody waits for what it still has to do before they arrive."""
    found = torch.as_tensor(numbers)
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found.to(device)
