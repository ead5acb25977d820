"""A `Sam` asked about many images at once, in rounds, with gradients. It does not know how prompts are made."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Question:
    """One prompt for each of N masks, in pixels of the frame.

    `owners_N` int64: the image of the batch that a prompt is about; `points_NPX` float32 (x, y); `kinds_NP` 1 on the
    mask, 0 off it, -1 no point; `boxes_NX` float32 left, top, right, bottom, NaN where there is none; `shown_NHW` the
    logits of a mask to start from, at the decoder's resolution, and `shows_N` whether a prompt has one.
    """

    owners_N: Tensor
    points_NPX: Tensor
    kinds_NP: Tensor
    boxes_NX: Tensor
    shown_NHW: Tensor
    shows_N: Tensor


@dataclass(frozen=True, eq=False)
class Answer:
    """What a `Sam` makes of a question: `logits_NCHW` and the estimated IoU `quality_NC`.

    Candidate 0 is the single mask, meant for prompts that leave no doubt; the others are the choice of masks.
    """

    logits_NCHW: Tensor
    quality_NC: Tensor


Ask = Callable[[Answer | None], Question | None]
"""The next question after an answer; None ends the dialogue."""


class SamDialogue(nn.Module):
    """A `Sam` in training: one pass of the image encoder, then questions that depend on the answers before.

    All of it is one forward pass, as data parallelism wants it.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, frames_BCHW: Tensor, ask: Ask) -> list[Answer]:
        """The answers to every question, in order; `frames_BCHW` are preprocessed as `Sam.preprocess` does."""
        features_BCHW = self.sam.image_encoder(frames_BCHW)
        answers: list[Answer] = []
        while (question := ask(answers[-1] if answers else None)) is not None:
            answers.append(self._answer(features_BCHW, question))
        return answers

    def _answer(self, features_BCHW: Tensor, question: Question) -> Answer:
        dense_NCHW = features_BCHW[question.owners_N] + self._dense(question)
        # equally many points, all with a box or none: as in use, nothing is padded, and no prompt feels its neighbours
        forms_N = (question.kinds_NP >= 0).sum(1) * 2 + ~question.boxes_NX.isnan().any(1)
        groups = [torch.nonzero(forms_N == form)[:, 0] for form in forms_N.unique()]
        parts = [self._decode(dense_NCHW[which], self._sparse(question, which)) for which in groups]
        back = torch.argsort(torch.cat(groups))
        logits, quality = (torch.cat(tensors)[back] for tensors in zip(*parts, strict=True))
        return Answer(logits, quality)

    def _dense(self, question: Question) -> Tensor:
        none_1CHW = self.sam.prompt_encoder.no_mask_embed.weight[:, :, None, None]
        if not question.shows_N.any():
            return none_1CHW
        _, shown_NCHW = self.sam.prompt_encoder(points=None, boxes=None, masks=question.shown_NHW[:, None])
        return torch.where(question.shows_N[:, None, None, None], shown_NCHW, none_1CHW)

    def _sparse(self, question: Question, which: Tensor) -> Tensor:
        kinds_NP, boxes_NX = question.kinds_NP[which], question.boxes_NX[which]
        used = int((kinds_NP[0] >= 0).sum())
        # half a pixel is lost where places are encoded in half precision
        with torch.autocast(kinds_NP.device.type, enabled=False):
            sparse, _ = self.sam.prompt_encoder(
                points=(question.points_NPX[which, :used], kinds_NP[:, :used]),
                boxes=None if boxes_NX[0].isnan().any() else boxes_NX,
                masks=None,
            )
        return sparse

    def _decode(self, dense_NCHW: Tensor, sparse_NPC: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(dense_NCHW.device.type, enabled=False):
            position_1CHW = self.sam.prompt_encoder.get_dense_pe()
        # the decoder takes one image and adds each prompt's dense part to it; so the images come in with that part,
        # and prompts about several images share a call
        logits_NCHW, quality_NC = self.sam.mask_decoder.predict_masks(
            image_embeddings=torch.zeros_like(position_1CHW),
            image_pe=position_1CHW,
            sparse_prompt_embeddings=sparse_NPC,
            dense_prompt_embeddings=dense_NCHW,
        )
        return logits_NCHW, quality_NC
