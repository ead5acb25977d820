"""The contrastive loss over a step's maps of features, over all processes. It knows no draw and no optimizer.

All pixels of the step's labelled images are compared with each other, and all of its other images; so the loss of a
step is not a sum over images, and the images of a process go through the model together. Between processes the features
are exchanged: each computes the loss over all of them, and the gradient of its own.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from clouds.models.heads import MaskOutput
from clouds.ops.contrast import pixel_contrast_loss
from clouds.training.online_settings import ContrastConfig


class FeatureContrast:
    """CLUDA's loss (arXiv 2208.14227) on the pixel decoder's maps; see `pixel_contrast_loss`."""

    def __init__(self, config: ContrastConfig, ignore: int) -> None:
        self._config, self._ignore = config, ignore

    def __call__(
        self,
        output: MaskOutput,
        learned_B1hw: Tensor | None,
        labels_BHW: Tensor,
        weights_BHW: Tensor | None,
        labelled: Sequence[bool],
        accelerator: Accelerator,
    ) -> Tensor:
        """The weighted loss of the whole step, the same on every process; its gradient is that of the own images.

        Args:
            learned_B1hw: in [0, 1]; of a pair, the product of its pixels' falls to the fused map and the rest to the
                coarse one; None: all of it to the fused one.
            weights_BHW: how far labels are trusted; None: wholly.
            labelled: which images have labels of their own.
        """
        config, device = self._config, output.fused_BChw.device
        labels_BN = self._at_size(labels_BHW[:, None].to(device).float(), "nearest-exact")[:, 0].flatten(1).long()
        trust_BN = torch.ones_like(labels_BN, dtype=torch.float32)
        if weights_BHW is not None and config.confidence:
            trust_BN = self._at_size(weights_BHW[:, None].to(device).float(), "nearest-exact")[:, 0].flatten(1)
        maps = [(output.fused_BChw, trust_BN, 1.0)]
        if learned_B1hw is not None:
            share_BN = trust_BN * self._at_size(learned_B1hw.float(), "bilinear")[:, 0].flatten(1)
            # a pair counts on the fused map by the product of its pixels' shares, on the coarse one by what is left of
            # it: the loss is linear in the pairs' weights, so that is a difference of two
            coarse_BChw = output.coarse_BChw
            maps = [(output.fused_BChw, share_BN, 1.0), (coarse_BChw, trust_BN, 1.0), (coarse_BChw, share_BN, -1.0)]
        is_labelled = torch.tensor(labelled, device=device)
        # zeros whose gradient reaches all that gave the maps, which data parallel training waits for
        given = [output.fused_BChw, output.coarse_BChw, *([] if learned_B1hw is None else [learned_B1hw])]
        total = torch.stack([one[:0].float().sum() for one in given]).sum()
        for factor, rows in ((config.source_weight, is_labelled), (config.target_weight, ~is_labelled)):
            for map_BChw, weights_BN, sign in maps:
                features_BCN = self._at_size(map_BChw.float(), "bilinear").flatten(2)
                features_NC = features_BCN[rows].transpose(1, 2).flatten(0, 1)
                pixels = _everywhere(
                    accelerator, features_NC, labels_BN[rows].flatten(), weights_BN[rows].flatten(), self._ignore
                )
                total = total + sign * factor * self._loss(*pixels)
        return total

    def _loss(self, features_NC: Tensor, labels_N: Tensor, weights_N: Tensor) -> Tensor:
        config = self._config
        return pixel_contrast_loss(
            features_NC, labels_N, weights_N, temperature=config.temperature, ignore=self._ignore
        )

    def _at_size(self, maps_BChw: Tensor, mode: str) -> Tensor:
        if tuple(maps_BChw.shape[-2:]) == self._config.size:
            return maps_BChw
        corners = {"align_corners": False} if mode == "bilinear" else {}
        return F.interpolate(maps_BChw, size=self._config.size, mode=mode, **corners)


def _everywhere(
    accelerator: Accelerator, features_NC: Tensor, labels_N: Tensor, weights_N: Tensor, ignore: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels of all processes; only the own ones carry gradients, which makes each process's part of them exact."""
    if accelerator.num_processes == 1:
        return features_NC, labels_N, weights_N
    counts = accelerator.gather(torch.tensor([len(labels_N)], device=labels_N.device))
    most, own = int(counts.max()), accelerator.process_index
    fill = most - len(labels_N)
    padded = F.pad(features_NC, (0, 0, 0, fill)), F.pad(labels_N, (0, fill), value=ignore), F.pad(weights_N, (0, fill))
    joined = []
    for live in padded:
        all_parts = list(accelerator.gather(live.detach().contiguous()).split(most)) if most else [live]
        if most:
            all_parts[own] = live
        joined.append(torch.cat(all_parts))
    return joined[0], joined[1], joined[2]
