"""The prior on disk: safetensors for numbers, JSON for words, nothing that runs code on loading."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from isofield.errors import InputError
from isofield.optimisers import MOMENTS
from isofield.prior.denoiser import Denoiser
from isofield.prior.spec import NOT_TRAINED_BY, PriorSpec
from isofield.prior.training import TrainingState, make_optimiser

PRIOR_FORMAT = "isofield-prior-2"


def pack_prior(denoiser: Denoiser, spec: PriorSpec, facts: dict[str, Any]) -> bytes:
    """The averaged weights with everything needed to use them, as safetensors bytes: the same bytes for the same training."""
    about = {
        "format": PRIOR_FORMAT,
        "spec": spec.model_dump(mode="json", exclude=set(NOT_TRAINED_BY)),
        "sigma_data": denoiser.sigma_data,
        "sigma_residual": denoiser.sigma_residual,
        "ratio": str(denoiser.ratio),
        **facts,
    }
    return _packed(_contiguous(denoiser.state_dict()), about)


def load_prior(path: Path, device: torch.device, remedy: str = "Delete it and train again") -> tuple[Denoiser, dict[str, Any]]:
    """The denoiser in `path`, ready for inference, and the facts stored with it. Raises InputError if it is damaged."""
    tensors, about = _read(path, remedy)
    if about.get("format") != PRIOR_FORMAT:
        raise InputError("prior checkpoint", str(path), f"is not of the format {PRIOR_FORMAT}", remedy)
    spec = PriorSpec.model_validate(about["spec"])
    denoiser = Denoiser(spec, about["sigma_data"], about["sigma_residual"], Fraction(about["ratio"]))
    denoiser.load_state_dict(tensors)
    return denoiser.to(device).eval().requires_grad_(False), about


INIT_REMEDY = "Set prior.init to the prior.safetensors of a finished run, or leave it null"
SIZED_BY = ("channels", "n_residual_blocks", "neighbours", "rounds")
"""What the tensors of a network depend on."""


def load_of_size(path: Path, spec: PriorSpec, device: torch.device) -> tuple[Denoiser, dict[str, Any]]:
    """`load_prior` of the file in prior.init. Raises InputError if its network is of another size than that of `spec`."""
    denoiser, about = load_prior(path, device, INIT_REMEDY)
    theirs = PriorSpec.model_validate(about["spec"])
    for key in SIZED_BY:
        if getattr(theirs, key) != getattr(spec, key):
            raise InputError(
                "prior.init",
                str(path),
                f"was trained with prior.{key} {getattr(theirs, key)}, this run has {getattr(spec, key)}",
                f"Set prior.{key} to {getattr(theirs, key)}, or leave prior.init null",
            )
    return denoiser, about


def start_from(state: TrainingState, spec: PriorSpec, path: Path) -> dict[str, Any]:
    """Give a fresh training the weights of the prior in `path`; returns the facts stored with it.

    Raises InputError if it is no prior or its network is of another size.
    """
    other, about = load_of_size(path, spec, torch.device("cpu"))
    ours, folds = state.denoiser, (other.network.fold, state.denoiser.network.fold)
    if folds[0] != folds[1]:
        raise InputError(
            "prior.init",
            str(path),
            f"was trained at a ratio of {other.ratio}, this volume has {ours.ratio}; they fold {folds[0]} and {folds[1]} planes",
            "Start from a volume of the same ratio, or leave prior.init null",
        )
    for network in (ours, state.average):
        network.load_state_dict(other.state_dict())
    return about


def pack_training(state: TrainingState, fingerprint: str) -> bytes:
    """A training state as safetensors bytes; `fingerprint` names everything the training depends on."""
    tensors = {f"weights/{k}": v for k, v in state.denoiser.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in state.average.state_dict().items()}
    for name, parameter in state.denoiser.named_parameters():
        for key, value in state.optimiser.state.get(parameter, {}).items():
            tensors[f"moment/{key}/{name}"] = value
    about = {
        "fingerprint": fingerprint,
        "step": state.step,
        "losses": state.losses,
        "running": state.running,
        "sigma_data": state.denoiser.sigma_data,
        "sigma_residual": state.denoiser.sigma_residual,
        "ratio": str(state.denoiser.ratio),
    }
    return _packed(_contiguous(tensors), about)


def resume_training(path: Path, fingerprint: str, spec: PriorSpec, device: torch.device) -> TrainingState | None:
    """The training state in `path`; None when there is none, it is damaged, or it belongs to another training."""
    if not path.exists():
        return None
    try:
        tensors, about = _read(path, "")
    except InputError:
        return None
    if about.get("fingerprint") != fingerprint:
        return None
    scales = about["sigma_data"], about["sigma_residual"], Fraction(about["ratio"])
    denoiser, average = (Denoiser(spec, *scales).to(device) for _ in range(2))
    denoiser.load_state_dict(_under(tensors, "weights/"))
    average.load_state_dict(_under(tensors, "average/"))
    optimiser = make_optimiser(denoiser)
    for name, parameter in denoiser.named_parameters():
        moments = {key: tensors[f"moment/{key}/{name}"] for key in MOMENTS if f"moment/{key}/{name}" in tensors}
        # The fused step goes through memory: moments must lie there as their parameter does.
        optimiser.state[parameter] = {
            key: value.to(device) if key == "step" else torch.empty_like(parameter).copy_(value) for key, value in moments.items()
        }
    losses = [(int(step), total, mean) for step, total, mean in about["losses"]]
    # States of earlier versions lack them.
    running = [(total, mean) for total, mean in about.get("running", ())]
    return TrainingState(denoiser, average, optimiser, about["step"], losses, running)


def _packed(tensors: dict[str, Tensor], about: dict[str, Any]) -> bytes:
    # Under one key: safetensors writes several in any order.
    return save(tensors, {"isofield": json.dumps({**about, "sha256": _sha256(tensors, about)}, sort_keys=True)})


def _sha256(tensors: dict[str, Tensor], about: dict[str, Any]) -> str:
    """Over all numbers and words: safetensors has no checksum, and one flipped bit in a weight looks like any other weight."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _read(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["isofield"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        # Files of earlier versions have no checksum.
        stated = about.pop("sha256", None)
        if stated not in (None, _sha256(tensors, about)):
            raise ValueError("its checksum does not fit: it was damaged after it was written")
        return tensors, about
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InputError("prior checkpoint", str(path), f"cannot be read ({error})", remedy) from error


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
