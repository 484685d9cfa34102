"""Adversarial and feature-matching losses, by the discriminators of the `dac` package.

Least-squares GAN (Mao et al. 2017) over multi-period and multi-band spectrogram discriminators, as
DAC is trained (Kumar et al. 2023). The discriminator takes a step of its own before the model's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_fabric import Fabric

    from rdbench.training.recipe import AdversarialConfig, Recipe


class Adversary:
    """The discriminators, their optimizer, and the two terms that they add to the model's loss."""

    def __init__(self, config: AdversarialConfig, recipe: Recipe, fabric: Fabric) -> None:
        from dac.model.discriminator import Discriminator
        from dac.nn.loss import GANLoss

        self.config = config
        self.sample_rate = recipe.model.sample_rate
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed + 1)
            self.plain = Discriminator(
                periods=list(config.periods),
                fft_sizes=list(config.fft_sizes),
                sample_rate=self.sample_rate,
            )
        optimizer = torch.optim.AdamW(
            self.plain.parameters(), lr=config.learning_rate, betas=(0.8, 0.99)
        )
        self.fabric = fabric
        self.model, self.optimizer = fabric.setup(self.plain, optimizer)
        self.loss = GANLoss(self.model)

    def step(
        self, *, reference: torch.Tensor, reconstruction: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """One discriminator step, then the weighted terms `adversarial` and `feature`.

        reference, reconstruction: (clips, channels, time); channels are judged one by one.
        """
        from audiotools import AudioSignal

        real = AudioSignal(_mono(reference), self.sample_rate)
        fake = AudioSignal(_mono(reconstruction), self.sample_rate)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(self.loss.discriminator_loss(fake, real))
        self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=10.0, error_if_nonfinite=False
        )
        self.optimizer.step()
        adversarial, feature = self.loss.generator_loss(fake, real)
        return {
            "adversarial": self.config.weight * adversarial,
            "feature": self.config.feature * feature,
        }

    def state_dict(self) -> dict[str, Any]:
        """What to resume from."""
        return {"model": self.plain.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self.plain.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def _mono(audio: torch.Tensor) -> torch.Tensor:
    return audio.float().reshape(-1, 1, audio.shape[-1])
