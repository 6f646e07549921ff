"""One sampling function: what is drawn follows exactly the distribution whose log-probabilities training uses."""

import pytest
import torch

from model.decoding.sampling import NonFiniteError, Rule, draw, guided, log_probabilities, uniform

RULES = [
    Rule(),
    Rule(temperature=0.5),
    Rule(temperature=2.0, top_k=3),
    Rule(allowed=(1, 4)),
    Rule(banned=(0, 2), top_k=4),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_draws_are_as_frequent_as_their_probability(rule: Rule):
    logits = torch.tensor([0.1, 1.5, -0.3, 0.8, 2.0, -1.0])
    generator = torch.Generator().manual_seed(0)
    count = 4000
    drawn = torch.bincount(
        torch.tensor(draw(logits.repeat(count, 1), rule, [uniform(rule, generator) for _ in range(count)])), minlength=6
    )
    wanted = log_probabilities(logits.double(), rule).exp()
    assert (drawn[wanted == 0] == 0).all()
    assert ((drawn / count - wanted).abs() < 4 * (wanted * (1 - wanted) / count).sqrt() + 1e-9).all()


def test_log_probabilities_sum_to_one_and_keep_the_ratios_of_the_allowed():
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    found = log_probabilities(logits, Rule(temperature=2.0, top_k=2))
    assert found.exp().sum() == pytest.approx(1.0)
    assert (found[0, 3] - found[0, 2]).item() == pytest.approx((3.0 - 2.0) / 2.0)
    assert found[0, 0] == -torch.inf


def test_temperature_zero_takes_the_best_and_uses_no_randomness():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    rule = Rule(temperature=0.0, banned=(2,))
    assert draw(torch.tensor([[0.0, 3.0, 9.0]]), rule, [uniform(rule, generator)]) == [1]
    assert torch.equal(generator.get_state(), before)


def test_a_draw_uses_exactly_one_number_of_its_own_generator():
    one, other, neighbour = (torch.Generator().manual_seed(5) for _ in range(3))
    logits = torch.randn(2, 50)
    both = draw(logits, Rule(), [uniform(Rule(), one), uniform(Rule(), neighbour)])
    assert draw(logits[:1], Rule(), [uniform(Rule(), other)]) == both[:1]
    assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.parametrize("rule", [*RULES, Rule(temperature=0.0), Rule(temperature=0.001)], ids=str)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_row_that_is_not_finite_is_an_error_in_its_place_only(rule: Rule, wrong: float):
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(1)) * 1e4
    spoilt = logits.clone()
    spoilt[1, 4] = wrong
    first, error, last = draw(spoilt, rule, [0.3, 0.5, 0.999])
    assert isinstance(error, NonFiniteError)
    assert [first, last] == draw(logits[[0, 2]], rule, [0.3, 0.999])


def test_guidance_of_one_is_the_conditional_branch():
    conditional, unconditional = torch.randn(9), torch.randn(9)
    assert torch.allclose(guided(conditional, unconditional, 1.0), conditional)
    assert torch.allclose(guided(conditional, unconditional, 0.0), unconditional)


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-45, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_temperature_near_zero_takes_the_best_as_zero_does(temperature: float, dtype: torch.dtype):
    logits = torch.tensor([[-40.0, 3.0, 90.0, 8.0]], dtype=dtype)
    rule = Rule(temperature=temperature)
    assert draw(logits, rule, [uniform(rule, torch.Generator().manual_seed(0))]) == [2]
    assert log_probabilities(logits, rule).exp().tolist() == [[0, 0, 1, 0]]
