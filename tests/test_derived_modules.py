"""What is made of weights is made anew when they have changed, and only then."""

import torch
from torch import nn

from model.backends.derived_modules import DerivedCache


def made_of(module: nn.Linear) -> tuple[torch.Tensor]:
    return (module.weight.detach().clone(),)


def test_it_is_kept_until_a_weight_changes_in_whatever_way():
    kept, module = DerivedCache(), nn.Linear(4, 4)
    before = kept.of(made_of, module)
    assert kept.of(made_of, module) is before

    def learn() -> None:
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)  # changes no version
        module(torch.ones(1, 4)).sum().backward()
        optimizer.step()

    def swap() -> None:  # changes no norm
        with torch.no_grad():
            module.weight[[0, 1]] = module.weight[[1, 0]]

    def load() -> None:
        module.load_state_dict(nn.Linear(4, 4).state_dict())

    for change in (learn, swap, load, lambda: module.weight.data.mul_(1.01)):
        change()
        after = kept.of(made_of, module)
        assert after is not before
        assert torch.equal(after[0], module.weight)
        assert kept.of(made_of, module) is after
        before = after


def test_every_way_of_making_and_every_module_has_its_own():
    kept, one, other = DerivedCache(), nn.Linear(2, 2), nn.Linear(2, 2)
    assert torch.equal(kept.of(made_of, one)[0], one.weight)
    assert torch.equal(kept.of(made_of, other)[0], other.weight)
    assert kept.of(lambda module: module.bias, one) is one.bias
