"""The autoregressive sampler, fitted to codes with known dependence."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import DataSpec, Domain


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_of(latent: dict[str, Any]) -> Autoencoder:
    config = {"encoder": "mlp", "latent": latent, "loss": "mse"}
    return assemble(config, DataSpec((4,), Domain("real"))).eval()


def make(model: Autoencoder, name: str = "autoregressive", **options: Any) -> Any:
    return build("sampler", {"name": name, **options}, model=model)


def vq(codes: int, tokens: int) -> Autoencoder:
    return model_of({"name": "vq", "codebook_size": codes, "dim": 2, "tokens": tokens})


SMALL = {"dim": 16, "steps": 120, "lr": 1e-2}
STAY = 0.9


def chain(num: int, codes: int, places: int) -> Tensor:
    """Draw Markov chains ``(num, places, 1)``: a code repeats the previous one with probability 0.9."""
    codes_by_place = [torch.randint(codes, (num,))]
    for _ in range(places - 1):
        codes_by_place.append(torch.where(torch.rand(num) < STAY, codes_by_place[-1], torch.randint(codes, (num,))))
    return torch.stack(codes_by_place, 1).unsqueeze(-1)


def test_a_known_dependence_is_learned() -> None:
    codes, places = 4, 3
    model = vq(codes, places)
    sampler, independent = make(model, **SMALL), make(model, "codes")
    training, test = chain(2000, codes, places), chain(2000, codes, places)
    sampler.fit(torch.zeros(len(training), 2, places), training)
    independent.fit(torch.zeros(len(training), 2, places), training)
    stay = STAY + (1 - STAY) / codes
    step = -stay * math.log(stay) - (codes - 1) * (1 - STAY) / codes * math.log((1 - STAY) / codes)
    entropy = math.log(codes) + (places - 1) * step
    loss = float(-sampler.log_prob(test).detach().mean())
    # The minimum is the entropy of the chain; independent codes have log 4 each.
    assert entropy - 0.1 < loss < entropy + 0.1
    assert loss < places * math.log(codes) - 1
    samples, independent_samples = sampler.draw(4000), independent.draw(4000)
    # Four standard errors plus the error of the fit.
    assert abs(float((samples[:, 1:] == samples[:, :-1]).float().mean()) - stay) < 0.03
    assert abs(float((independent_samples[:, 1:] == independent_samples[:, :-1]).float().mean()) - 1 / codes) < 0.03
    assert (samples[:, 0].bincount(minlength=codes) / 4000 - 0.25).abs().max() < 0.05


def test_samples_have_the_probabilities_of_log_prob() -> None:
    model = vq(3, 3)
    sampler = make(model, **SMALL)
    sampler.fit(torch.zeros(500, 2, 3), chain(500, 3, 3))
    all_codes = torch.cartesian_prod(*[torch.arange(3)] * 3)
    probabilities = sampler.log_prob(all_codes.unsqueeze(-1)).detach().exp()
    torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0))
    num = 20_000
    frequencies = (sampler.draw(num) @ torch.tensor([9, 3, 1])).bincount(minlength=27) / num
    # Five standard errors, since 27 frequencies are compared.
    assert ((frequencies - probabilities).abs() < 5 * (probabilities * (1 - probabilities) / num).sqrt() + 1e-4).all()


def test_dependence_between_levels() -> None:
    model = model_of({"name": "rvq", "codebook_size": 4, "dim": 2, "tokens": 2, "num_quantizers": 3})
    sampler = make(model, **SMALL)
    # The second level is 3 - first, the third is independent, and the second position repeats the first.
    first, free = torch.randint(4, (2, 800))
    position = torch.stack([first, 3 - first, free], 1)
    codes = torch.stack([position, position], 1)
    sampler.fit(torch.zeros(800, 2, 2), codes)
    samples = sampler.draw(500).reshape(500, 2, 3)
    assert ((samples[..., 1] == 3 - samples[..., 0]).float().mean() > 0.95).item()
    assert ((samples[:, 0] == samples[:, 1]).float().mean() > 0.9).item()
    assert len(samples[:, 0, 2].unique()) == 4
    z = sampler.sample(model, 5)
    assert z.shape == (5, 2, 2)


def test_each_level_has_its_own_output_layer() -> None:
    sampler = make(model_of({"name": "rvq", "codebook_size": 4, "dim": 2, "tokens": 2, "num_quantizers": 3}), **SMALL)
    for level, output in enumerate(sampler.transformer.outputs):
        torch.nn.init.constant_(output.bias, level)
    before = sampler.transformer.previous_tokens(torch.zeros(1, 6, dtype=torch.long))
    # Their weights are initially 0.
    assert sampler.transformer(before)[0, :, 0].tolist() == [0, 1, 2, 0, 1, 2]
    cache, one_by_one = sampler.transformer.blocks.empty_cache(torch.zeros(1)), []
    for place in range(6):
        logits, cache = sampler.transformer.forward_incremental(before[:, [place]], place, cache)
        one_by_one.append(logits[0, 0, 0].item())
    assert one_by_one == [0, 1, 2, 0, 1, 2]


def test_a_code_does_not_depend_on_later_codes() -> None:
    sampler = make(vq(5, 6), **SMALL)
    sampler.fit(torch.zeros(50, 2, 6), chain(50, 5, 6))
    one = chain(4, 5, 6).flatten(1)
    other = one.clone()
    other[:, 3:] = (other[:, 3:] + 1) % 5
    with torch.no_grad():
        logits = [sampler.transformer(sampler.transformer.previous_tokens(codes)) for codes in (one, other)]
    torch.testing.assert_close(logits[0][:, :4], logits[1][:, :4])
    assert (logits[0][:, 4:] - logits[1][:, 4:]).abs().max() > 1e-3


def test_the_weights_with_the_highest_held_out_likelihood_are_kept() -> None:
    # Codes are independent and few, so every learned dependence is overfitting.
    sampler = make(vq(20, 4), dim=32, steps=150, lr=1e-2)
    codes = torch.randint(20, (80, 4, 1))
    sampler.fit(torch.zeros(80, 2, 4), codes)
    test = torch.randint(20, (2000, 4, 1))
    independent = sampler.log_frequencies().gather(1, test[..., 0].T).sum(0).mean()
    assert float(-sampler.log_prob(test).detach().mean()) < float(-independent) + 0.2


def test_temperature_and_top_k() -> None:
    model = vq(4, 1)
    shares = torch.tensor([0.4, 0.3, 0.2, 0.1])
    codes = torch.multinomial(shares, 4000, replacement=True).reshape(4000, 1, 1)

    def frequencies(**options: Any) -> Tensor:
        sampler = make(model, dim=8, depth=1, steps=1, lr=1e-9, **options)
        sampler.fit(torch.zeros(4000, 2, 1), codes)
        return sampler.draw(20_000).flatten().bincount(minlength=4) / 20_000

    for temperature in (1.0, 0.5, 2.0):
        expected = shares ** (1 / temperature)
        torch.testing.assert_close(frequencies(temperature=temperature), expected / expected.sum(), atol=0.03, rtol=0)
    torch.testing.assert_close(frequencies(top_k=2), torch.tensor([4 / 7, 3 / 7, 0.0, 0.0]), atol=0.03, rtol=0)
    torch.testing.assert_close(frequencies(top_k=9), shares, atol=0.03, rtol=0)


def test_a_fit_depends_on_the_seed_and_is_saved() -> None:
    model, codes = vq(4, 3), chain(100, 4, 3)
    fits = []
    for seed in (1, 1, 2):
        sampler = make(model, dim=8, steps=5)
        torch.manual_seed(seed)
        with torch.no_grad():
            sampler.fit(torch.zeros(100, 2, 3), codes)
        fits.append(sampler)
    scores = [sampler.log_prob(codes) for sampler in fits]
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])
    torch.manual_seed(2)
    # An earlier fit has no influence.
    fits[0].fit(torch.zeros(100, 2, 3), codes)
    assert torch.equal(fits[0].log_prob(codes), scores[2])
    again = make(model, dim=8, steps=5)
    again.load_state_dict(fits[0].state_dict())
    assert torch.equal(again.log_prob(codes), scores[2])


@pytest.mark.parametrize("num", [1, 2])
def test_one_or_two_rows_can_be_fitted(num: int) -> None:
    sampler = make(vq(4, 2), dim=8, steps=3)
    sampler.fit(torch.zeros(num, 2, 2), chain(num, 4, 2))
    assert sampler.draw(3).shape == (3, 2)


def test_error_messages() -> None:
    model = vq(4, 2)
    numbers = (
        "sampler autoregressive needs numbers of at least 1 and heads that divide dim, found dim {}, depth 2, "
        "heads {}, steps 300, batch_size 64 and top_k {}"
    )
    for call, message in (
        (lambda: make(model, heads=3), numbers.format(64, 3, None)),
        (lambda: make(model, heads=0), numbers.format(64, 0, None)),
        (lambda: make(model, top_k=0), numbers.format(64, 4, 0)),
        (
            lambda: make(model, temperature=0.0),
            "sampler autoregressive needs lr and temperature above 0, found 0.003 and 0.0",
        ),
        (
            lambda: make(model_of({"name": "point"})),
            "sampler autoregressive requires a latent with num_codes, such as vq or fsq, found Point; "
            "choose sampler=prior or sampler=gmm",
        ),
        (
            lambda: make(model).sample(model, 3),
            "sampler autoregressive must be fitted before it can sample; fit it to training codes first",
        ),
        (
            lambda: make(model).fit(torch.zeros(3, 2, 2), None),
            "sampler autoregressive requires the integer codes of a quantiser, found a latent that provides none",
        ),
    ):
        with pytest.raises(AeframeError) as error:
            call()
        assert str(error.value) == message
