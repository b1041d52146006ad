"""The update as the most used PyTorch re-implementation writes it: three optimiser steps, on our networks.

Generator step, discriminator step, then a step on L_I over generator and critics together. Fakes are made twice and
back-propagated twice; the generator's step computes the critics' weight gradients and throws them away.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from unbraid.models.infogan.codes import latent_vector, mutual_information, sample_codes, split_head
from unbraid.models.infogan.networks import Generator, QHead, Trunk
from unbraid.models.losses import information_loss
from unbraid.models.random import RandomSource
from unbraid.trainers.systems.infogan.config import Config


class ThreeStepPort:
    """That loop's body, with plain Adam as it uses."""

    def __init__(self, config: Config, device: torch.device) -> None:
        sizes, optim = config.networks, config.optim
        self.codes, self.loss = config.codes, config.loss
        self.generator = Generator(sizes.generator, config.codes, sizes.image).to(device)
        self.trunk = Trunk(sizes.trunk, sizes.image).to(device)
        self.head = nn.Sequential(nn.Linear(self.trunk.width, 1), nn.Flatten(0)).to(device)
        self.q_head = QHead(sizes.trunk, config.codes, self.trunk.width).to(device)
        critics = [*self.trunk.parameters(), *self.head.parameters(), *self.q_head.parameters()]
        self.adam_g = torch.optim.Adam(self.generator.parameters(), optim.lr_generator, optim.betas)
        self.adam_d = torch.optim.Adam(critics, optim.lr_discriminator, optim.betas)
        together = itertools.chain(self.generator.parameters(), critics)
        self.adam_info = torch.optim.Adam(together, optim.lr_discriminator, optim.betas)
        self.random = RandomSource(0, device)

    def step(self, images: Tensor) -> None:
        """One update."""
        real = images.float() / 255
        valid, fake = torch.ones(len(real)), torch.zeros(len(real))

        self.adam_g.zero_grad()
        made = self.generator(latent_vector(self.codes, sample_codes(self.codes, self.random, len(real))))
        binary_cross_entropy_with_logits(self.head(self.trunk(made)), valid).backward()
        self.adam_g.step()

        self.adam_d.zero_grad()
        on_real = binary_cross_entropy_with_logits(self.head(self.trunk(real)), valid)
        on_made = binary_cross_entropy_with_logits(self.head(self.trunk(made.detach())), fake)
        ((on_real + on_made) / 2).backward()
        self.adam_d.step()

        self.adam_info.zero_grad()
        codes = sample_codes(self.codes, self.random, len(real))
        posterior = split_head(self.codes, self.q_head(self.trunk(self.generator(latent_vector(self.codes, codes)))))
        information = mutual_information(self.codes, posterior, codes)
        information_loss(information, self.loss.info_categorical, self.loss.info_continuous).backward()
        self.adam_info.step()
