"""Learns to answer prompts with masks: a `Sam` asked in rounds about class-agnostic objects. It reads no caption.

Source: Kirillov et al. 2023, "Segment Anything", appendix A: a first prompt, then points on mistakes with the last
answer shown; of three candidate masks the best one learns. What differs stands with `candidate_losses`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from clouds.engine.seeding import item_seed
from clouds.models.miniature import SAM
from clouds.models.sam_checkpoint import save_sam
from clouds.models.sam_dialogue import Answer, Question, SamDialogue
from clouds.ops.candidate_loss import candidate_losses
from clouds.ops.mask_prompt import mask_prompt
from clouds.pretraining.corpus import Corpus
from clouds.pretraining.groups import parameter_groups
from clouds.pretraining.promptable_config import PromptableConfig, PromptConfig
from clouds.pretraining.promptable_draws import DrawnMasks, MaskDraws
from clouds.pretraining.prompting import FirstPrompt, correction
from clouds.pretraining.state import load_weights
from clouds.training.loop import Step

_LARGEST = 32.0


class PromptableLearner:
    """A `Learner` of a `Sam` on a corpus's pictures and the masks of their objects."""

    losses: Sequence[str] = ("loss", "cross", "dice", "quality", "iou")

    def __init__(self, model: Any, corpus: Corpus, config: PromptableConfig, *, seed: int) -> None:
        self.sam = model.requires_grad_(True)
        self.model: nn.Module = SamDialogue(model)
        self.draws = MaskDraws(corpus, model.image_encoder.img_size, config, seed)
        self._config = config

    def parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self.model, self._config.optimizer)

    def backward(self, drawn: Sequence[DrawnMasks], step: Step) -> Tensor:
        """Losses as means over a picture's masks and rounds; `iou` is that of the answers the model holds best."""
        device, weights = step.accelerator.device, self._config.objective
        dialogue = _Dialogue(drawn, self.sam, self._config.prompts, step.seed, device)
        with step.accelerator.autocast():
            answers: list[Answer] = step.parallel(dialogue.frames_BCHW, dialogue)
        balance = weights.balance_at(step.number, self._config.steps)
        rounds = zip(answers, dialogue.certain, strict=True)
        sums = torch.stack([_parts(answer, certain_N, dialogue, balance) for answer, certain_N in rounds]).mean(0)
        cross, dice, quality, iou = sums / step.batch_size
        loss = weights.cross * cross + weights.dice * dice + weights.quality * quality
        # data parallel averages gradients over processes; the loss is a sum over all of them
        step.accelerator.backward(loss * step.accelerator.num_processes)
        return torch.stack([loss, cross, dice, quality, iou]).detach()

    def state(self) -> dict[str, Tensor]:
        return dict(self.sam.state_dict())

    def load_state(self, tensors: Mapping[str, Tensor], where: str = "the checkpoint") -> None:
        load_weights(self.sam, tensors, where)

    def save(self, folder: Path) -> None:
        """Write `sam.safetensors` as `load_sam` reads it."""
        save_sam(self.sam, folder / SAM)


class _Dialogue:
    """The questions of one batch: first prompts, then corrections, each drawn from its own picture's generator."""

    def __init__(
        self, drawn: Sequence[DrawnMasks], sam: Any, config: PromptConfig, seed: int, device: torch.device
    ) -> None:
        self._config, self._device = config, device
        self._side, self._cells = sam.image_encoder.img_size, sam.prompt_encoder.mask_input_size
        self._rngs = [np.random.default_rng(item_seed(seed, "prompts", one.number)) for one in drawn]
        images = [torch.from_numpy(one.image_HWC).permute(2, 0, 1).to(device) for one in drawn]
        self.frames_BCHW = torch.stack([sam.preprocess(image) for image in images])
        counts = torch.tensor([len(one.prompts) for one in drawn])
        self.owners_N = torch.arange(len(drawn)).repeat_interleave(counts).to(device)
        self.weights_N = (1.0 / counts).repeat_interleave(counts).to(device)
        self._targets_NHW = np.concatenate([self._padded(one.targets_NHW) for one in drawn])
        inside = [self._padded(np.ones((1, *one.image_HWC.shape[:2]), np.bool_)) for one in drawn]
        self.targets_NHW = torch.from_numpy(self._targets_NHW).to(device)
        self.inside_BHW = torch.from_numpy(np.concatenate(inside)).to(device)
        self.certain: list[Tensor] = []
        """For each question, whether its prompts leave no doubt about their mask."""
        self._begin([prompt for one in drawn for prompt in one.prompts])

    def __call__(self, answer: Answer | None) -> Question | None:
        if answer is not None:
            if len(self.certain) == self._config.rounds:
                return None
            self._react(answer)
        given_N = (self._kinds_NP >= 0).sum(1) + 2 * ~np.isnan(self._boxes_NX[:, 0]) + 2 * self._shows_N
        self.certain.append(torch.from_numpy(given_N > 1).to(self._device))
        return Question(
            owners_N=self.owners_N,
            points_NPX=self._tensor(self._points_NPX),
            kinds_NP=self._tensor(self._kinds_NP),
            boxes_NX=self._tensor(self._boxes_NX),
            shown_NHW=self._shown_NHW,
            shows_N=self._tensor(self._shows_N),
        )

    def at_frame_size(self, logits_NCHW: Tensor) -> Tensor:
        """Logits of the decoder's resolution at the frame's, as `Sam.postprocess_masks` enlarges them; float32."""
        side = (self._side, self._side)
        return F.interpolate(logits_NCHW.float(), side, mode="bilinear", align_corners=False)

    def _begin(self, prompts: Sequence[FirstPrompt]) -> None:
        count = len(prompts)
        most = self._config.component_points + self._config.rounds
        self._points_NPX = np.zeros((count, most, 2), np.float32)
        self._kinds_NP = np.full((count, most), -1, np.int64)
        self._boxes_NX = np.full((count, 4), np.nan, np.float32)
        self._shows_N = np.zeros(count, np.bool_)
        shown_NHW = np.zeros_like(self._targets_NHW)
        for number, prompt in enumerate(prompts):
            self._points_NPX[number, : len(prompt.points_NX)] = prompt.points_NX
            self._kinds_NP[number, : len(prompt.points_NX)] = 1
            if prompt.box_X is not None:
                self._boxes_NX[number] = prompt.box_X
            if prompt.shown_HW is not None:
                shown_NHW[number] = self._padded(prompt.shown_HW[None])[0]
                self._shows_N[number] = True
        self._shown_NHW = mask_prompt(self._tensor(shown_NHW), self._cells)

    def _react(self, answer: Answer) -> None:
        """Show each answer to the model again, some with a point on a mistake."""
        best_N = _best(answer.quality_NC)
        every_N = torch.arange(len(best_N), device=best_N.device)
        self._shown_NHW = answer.logits_NCHW[every_N, best_N].detach().float().clamp(-_LARGEST, _LARGEST)
        self._shows_N[:] = True
        masks_NHW = (self.at_frame_size(self._shown_NHW[:, None])[:, 0] > 0).cpu().numpy()
        inside_BHW = self.inside_BHW.cpu().numpy()
        for number, owner in enumerate(self.owners_N.tolist()):
            rng = self._rngs[owner]
            if rng.random() < self._config.correction:
                found = correction(masks_NHW[number] & inside_BHW[owner], self._targets_NHW[number], rng)
                if found is not None:
                    self._add(number, *found)

    def _add(self, number: int, point_X: NDArray[np.int64], on_target: bool) -> None:
        place = int(np.count_nonzero(self._kinds_NP[number] >= 0))
        self._points_NPX[number, place], self._kinds_NP[number, place] = point_X, int(on_target)

    def _padded(self, masks_NHW: NDArray[np.bool_]) -> NDArray[np.bool_]:
        _, height, width = masks_NHW.shape
        return np.pad(masks_NHW, ((0, 0), (0, self._side - height), (0, self._side - width)))

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        # a copy: the arrays go on changing while the graph still needs the tensors
        return torch.tensor(array, device=self._device)


def _best(quality_NC: Tensor) -> Tensor:
    """The candidate the model itself holds best, the single mask aside."""
    return quality_NC[:, 1:].argmax(1) + 1


def _parts(answer: Answer, certain_N: Tensor, dialogue: _Dialogue, balance: float) -> Tensor:
    """Cross-entropy, dice loss, squared error of the quality, IoU: each picture's mean, summed over pictures."""
    logits_NCHW = dialogue.at_frame_size(answer.logits_NCHW)
    inside_NHW = dialogue.inside_BHW[dialogue.owners_N]
    losses = candidate_losses(logits_NCHW, dialogue.targets_NHW, inside_NHW, certain_N, balance)
    quality_NC = answer.quality_NC.float()
    error_N = (quality_NC - losses.iou_NC).square().mean(1)
    iou_N = losses.iou_NC.gather(1, _best(quality_NC)[:, None])[:, 0]
    parts_NX = torch.stack([losses.cross_N, losses.dice_N, error_N, iou_N], 1)
    return (parts_NX * dialogue.weights_N[:, None]).sum(0)
