"""The encoder counts_mlp, the loss views and the metrics, compared with scipy, scikit-learn and manual results."""

from __future__ import annotations

from typing import Any

import anndata
import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, mean_poisson_deviance, silhouette_score

from aeframe import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import smallest, subset_keys
from aeframe.parts.corruptions import NoCorruption
from aeframe.testing.fixtures import real_file
from aeframe.types import Batch, DataSpec, Domain
from aeframe_omics.clusters import CellClusters
from aeframe_omics.metrics import PoissonDeviance
from aeframe_omics.modality import Omics
from aeframe_omics.simulated import CellsSimulated, simulate

COUNT, REAL = Domain("count"), Domain("real")
VIEWED = DataSpec((9,), REAL, 0, {"library": ()}, {"counts": (6, COUNT), "protein": (3, REAL)})


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model(spec: DataSpec, loss: Any = "negative_binomial", **options: Any) -> Autoencoder:
    config = {
        "encoder": {"name": "counts_mlp", "hidden": (8,)},
        "latent": {"name": "gaussian", "dim": 3},
        "loss": loss,
        "objective": "elbo",
    }
    return assemble({**config, **options}, spec).eval()


def random_counts(*shape: int) -> torch.Tensor:
    return torch.poisson(torch.full(shape, 2.0))


# -- encoder -----------------------------------------------------------------------------------------------------


def encoder(spec: DataSpec, **options: Any) -> Any:
    shape = (spec.shape[0] + spec.condition,)
    given = {"shape": shape, "domain": spec.domain, "corruption": NoCorruption(), "spec": spec}
    return build("encoder", {"name": "counts_mlp", **options}, **given)


def test_only_counts_are_log_transformed() -> None:
    spec = DataSpec(VIEWED.shape, REAL, 2, VIEWED.extras, VIEWED.views)
    x = torch.cat([random_counts(4, 6), torch.randn(4, 5)], 1)
    before = x.clone()
    features = encoder(spec, hidden=[])(Batch(x))
    assert torch.equal(features, torch.cat([x[:, :6].log1p(), x[:, 6:]], 1))
    assert torch.equal(x, before)


def test_normalised_cells_do_not_depend_on_sequencing_depth() -> None:
    x = random_counts(4, 6) + 1
    spec = DataSpec((6,), COUNT, 1)
    part = encoder(spec, hidden=[], normalise=True)
    one, other = (part(Batch(torch.cat([k * x, torch.zeros(4, 1)], 1))) for k in (1, 7))
    assert torch.allclose(one, other)
    assert torch.allclose(one[:, :6].expm1().sum(1), torch.full((4,), 1e4))


def test_data_without_counts_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        encoder(DataSpec((6,), REAL))
    assert str(caught.value) == "encoder counts_mlp is for counts, but these data are real; choose encoder=mlp"


# -- views -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["observed", "none"])
@pytest.mark.parametrize("counts", ["poisson", "negative_binomial", "zero_inflated_negative_binomial"])
@pytest.mark.parametrize("dispersion", ["gene", "gene_batch", "gene_cell"])
def test_the_loss_views_is_the_sum_of_the_losses_of_the_views(counts: str, dispersion: str, library: str) -> None:
    if counts == "poisson" and dispersion != "gene":
        pytest.skip("a Poisson has no dispersion")
    first = {"name": counts, "library": library} | ({} if counts == "poisson" else {"dispersion": dispersion})
    second = {"name": "gaussian", "variance": "learned"}
    spec = DataSpec(VIEWED.shape, REAL, 2, VIEWED.extras, VIEWED.views)
    config = {"name": "views", "losses": {"counts": first, "protein": second}, "weights": {"protein": 0.5}}
    both = build("loss", config, shape=(9,), domain=REAL, spec=spec)
    parts = [
        build("loss", part, shape=(size,), domain=domain, spec=DataSpec((size,), domain, 2))
        for part, (size, domain) in zip((first, second), spec.views.values(), strict=True)
    ]
    batch = Batch(torch.cat([random_counts(5, 6), torch.randn(5, 3)], 1), extras={"library": torch.rand(5) * 9 + 1})
    condition = torch.eye(2)[torch.arange(5) % 2]
    batch.mask = torch.rand(5, 9) < 0.8
    output = torch.randn(5, both.num_outputs, 9)
    expected = torch.zeros(5)
    for part, weight, columns in zip(parts, (1.0, 0.5), (slice(0, 6), slice(6, 9)), strict=True):
        view = Batch(batch.x[:, columns], batch.mask[:, columns], extras=batch.extras)
        parameters = part.postprocess(output[:, : part.num_outputs, columns], view, condition)
        expected = expected + weight * part(parameters, view)
        assert torch.allclose(both.mean(both.postprocess(output, batch, condition))[:, columns], part.mean(parameters))
    completed = both.postprocess(output, batch, condition)
    assert torch.allclose(both(completed, batch), expected, rtol=1e-5)
    # Importance samples are the first dimension.
    assert torch.allclose(both(completed.expand(3, *completed.shape), batch), expected.expand(3, 5), rtol=1e-5)
    assert both.sample(completed).shape == batch.x.shape


def test_the_library_of_the_data_is_used_for_the_first_view_only() -> None:
    views = {"rna": (6, COUNT), "peaks": (3, COUNT)}
    spec = DataSpec((9,), REAL, 0, {"library": ()}, views)
    both = build(
        "loss", {"name": "views", "losses": {"rna": "poisson", "peaks": "poisson"}}, shape=(9,), domain=REAL, spec=spec
    )
    batch = Batch(random_counts(4, 9) + 1, extras={"library": torch.tensor([10.0, 20.0, 30.0, 40.0])})
    mean = both.mean(both.postprocess(torch.randn(4, 1, 9), batch))
    assert torch.allclose(mean[:, :6].sum(1), batch.extras["library"])
    assert torch.allclose(mean[:, 6:].sum(1), batch.x[:, 6:].sum(1))


def test_unknown_views_and_unsuitable_losses_are_refused() -> None:
    def message(**options: Any) -> str:
        with pytest.raises(AeframeError) as caught:
            build("loss", {"name": "views", **options}, shape=(9,), domain=REAL, spec=VIEWED)
        return str(caught.value)

    assert message(losses={"rna": "poisson"}) == (
        "loss views has options for an unknown view 'rna'; the views of the data are counts, protein"
    )
    assert message(losses={"counts": "gaussian"}) == (
        "loss views: the loss of view 'counts' is for data that are real or signed or unit, but this view is count; "
        "set loss.losses.counts"
    )


def test_views_train_and_are_generated_in_their_domains() -> None:
    data = CellsSimulated(cells=60, genes=20, proteins=4, categorical=("batch",))
    modality = Omics()
    spec = modality.spec(data)
    assert spec.views == {"counts": (20, COUNT), "protein": (4, REAL)}
    train = modality.prepare(data).train
    batch = train.batch(torch.arange(30))
    made = model(spec, "views")
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = made(batch, sample=True).reconstruction.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 5
    x = made.generate(torch.randn(8, 3), condition=batch.condition[:8], draw=True)  # type: ignore[index]
    assert not COUNT.violations(x[:, :20]).any()


# -- references -----------------------------------------------------------------------------------------------------


def test_simulated_cells_have_the_likelihood_of_their_model() -> None:
    simulation = simulate(cells=200, genes=50, types=3, batches=2, seed=1)
    r = simulation.dispersion
    config = {"name": "negative_binomial", "initial_r": 1.0}
    loss = build("loss", config, shape=(50,), domain=COUNT, spec=DataSpec((50,), COUNT))
    loss.requires_grad_(False).raw_r.copy_(torch.from_numpy(np.log(r) / 10))
    batch = Batch(
        torch.from_numpy(simulation.counts).float(),
        extras={"library": torch.from_numpy(simulation.mean.sum(1)).float()},
    )
    output = torch.from_numpy(np.log(simulation.mean)).float().unsqueeze(1)
    nats = loss(loss.postprocess(output, batch), batch)
    log_p = scipy.stats.nbinom.logpmf(simulation.counts, r, r / (r + simulation.mean)).sum(1)
    assert nats.double().numpy() == pytest.approx(-log_p, rel=1e-5)
    # Other dispersions, and a Poisson with the same means, are less likely.
    for factor in (0.7, 1.4):
        loss.raw_r.copy_(torch.from_numpy(np.log(r * factor) / 10))
        assert float(loss(loss.postprocess(output, batch), batch).mean()) > -log_p.mean()
    poisson = build("loss", "poisson", shape=(50,), domain=COUNT)
    assert float(poisson(poisson.postprocess(output, batch), batch).mean()) > -log_p.mean() + 5


def test_the_poisson_baseline_of_blood_cells() -> None:
    cells = anndata.read_h5ad(real_file("omics/pbmc_facs.h5ad"))
    held_out = (cells.obs["split"] == "test").to_numpy()
    share = np.asarray(cells.X[~held_out].sum(0, dtype=np.float64)).ravel()
    x = torch.from_numpy(cells.X[held_out].toarray())
    loss = build("loss", "poisson", shape=(x.shape[1],), domain=COUNT)
    output = torch.from_numpy(np.log(share)).float().expand(len(x), 1, -1)
    # A model without latent: the mean is the gene's fraction of the training counts times the library size.
    assert float(loss(loss.postprocess(output, Batch(x)), Batch(x)).mean()) == pytest.approx(2308.7, abs=0.1)


def test_the_poisson_likelihood_of_a_factorisation_of_blood_cells() -> None:
    cells = anndata.read_h5ad(real_file("omics/pbmc_facs.h5ad"))
    x = cells.X[:200].toarray()
    rng = np.random.default_rng(0)
    rate = rng.gamma(1.0, size=(200, 6)) @ rng.gamma(0.3, size=(6, x.shape[1])) * x.sum(1, keepdims=True) / x.shape[1]
    loss = build("loss", "poisson", shape=(x.shape[1],), domain=COUNT)
    batch = Batch(torch.from_numpy(x), extras={"library": torch.from_numpy(rate.sum(1))})
    output = torch.from_numpy(np.log(rate)).float().unsqueeze(1)
    nats = float(loss(loss.postprocess(output, batch), batch).sum(dtype=torch.float64))
    assert nats == pytest.approx(-scipy.stats.poisson.logpmf(x, rate).sum(), rel=1e-6)


# -- metrics -----------------------------------------------------------------------------------------------------


def simulated(num: int = 80) -> tuple[Autoencoder, Batch]:
    data = CellsSimulated(cells=120, genes=40, types=3)
    modality = Omics()
    spec = modality.spec(data)
    return model(spec), modality.prepare(data).train.batch(torch.arange(num))


@torch.no_grad()
def measure(metric: Any, net: Autoencoder, *batches: Batch) -> dict[str, float]:
    for batch in batches:
        metric.update(net, net(batch, sample=False))
    values = metric.compute()
    return {name: float(value) for name, value in (values if isinstance(values, dict) else {"value": values}).items()}


@torch.no_grad()
def test_poisson_deviance_equals_that_of_scikit_learn() -> None:
    net, batch = simulated()
    p = net(batch, sample=False)
    expected = mean_poisson_deviance(batch.x.flatten(), net.loss.mean(p.output).flatten()) * 40
    assert measure(PoissonDeviance(), net, batch)["value"] == pytest.approx(expected, rel=1e-5)
    parts = [batch.rows(slice(0, 11)), batch.rows(slice(11, 80))]
    assert measure(PoissonDeviance(), net, *parts)["value"] == pytest.approx(expected, rel=1e-5)
    batch.mask = torch.zeros(80, 40, dtype=torch.bool)
    assert measure(PoissonDeviance(), net, batch)["value"] == 0


def test_clusters_do_not_depend_on_order_or_batches() -> None:
    net, batch = simulated()
    expected = measure(CellClusters(net), net, batch)
    assert set(expected) == {
        f"{pca}{name}" for pca in ("", "pca_") for name in ("ari", "nmi", "label_silhouette", "batch_silhouette")
    }
    shuffled = batch.rows(torch.randperm(80))
    parts = measure(CellClusters(net), net, shuffled.rows(slice(0, 30)), shuffled.rows(slice(30, 80)))
    assert parts == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def test_silhouettes_equal_those_of_scikit_learn() -> None:
    net, batch = simulated()
    codes, labels = net.embed(batch).mean.numpy(), batch.extras["label"].numpy()
    found = measure(CellClusters(net), net, batch)
    assert found["label_silhouette"] == pytest.approx(silhouette_score(codes, labels), abs=1e-6)
    assert found["batch_silhouette"] == pytest.approx(silhouette_score(codes, batch.extras["batch"].numpy()), abs=1e-6)
    x = batch.x.numpy()
    principal = PCA(20, svd_solver="full").fit_transform(np.log1p(1e4 * x / x.sum(1, keepdims=True)))
    assert found["pca_label_silhouette"] == pytest.approx(silhouette_score(principal, labels), abs=0.01)


@torch.no_grad()
def test_metrics_of_codes_that_equal_the_labels() -> None:
    net, batch = simulated()
    p = net(batch, sample=False)
    p.latent.mean = torch.nn.functional.one_hot(batch.extras["label"], 3) + 0.01 * torch.randn(80, 3)
    metric = CellClusters(net)
    metric.update(net, p)
    found = metric.compute()
    assert float(found["ari"]) == float(found["nmi"]) == pytest.approx(1)
    assert float(found["label_silhouette"]) > 0.9
    # Cells without a label are ignored.
    batch.extras["label"][:40] = -1
    metric.reset()
    metric.update(net, p)
    assert float(metric.compute()["ari"]) == pytest.approx(1)
    assert adjusted_rand_score([0, 1], [0, 1]) == 1


def test_undefined_metrics_are_zero_and_a_random_subset_of_cells_is_compared() -> None:
    net, batch = simulated()
    batch.extras["label"][:] = 2
    assert batch.index is not None
    found = measure(CellClusters(net, cells=30), net, batch.rows(slice(0, 20)), batch.rows(slice(20, 80)))
    assert (found["ari"], found["nmi"], found["label_silhouette"]) == (0, 0, 0)
    assert found["batch_silhouette"] == pytest.approx(
        measure(CellClusters(net), net, batch.rows(smallest(subset_keys(batch.index, 0), 30)))["batch_silhouette"],
        abs=1e-6,
    )


def test_the_data_that_the_metrics_apply_to() -> None:
    net, _ = simulated()
    assert PoissonDeviance.applies(net)
    assert CellClusters.applies(net)
    bare = model(DataSpec((6,), COUNT))
    assert not CellClusters.applies(bare)
    real_valued = {"name": "mlp", "hidden": (4,)}
    assert not PoissonDeviance.applies(model(DataSpec((6,), REAL), "mse", encoder=real_valued, objective="elbo"))


def test_pca_metrics_of_counts_and_log_values_agree() -> None:
    data = CellsSimulated(cells=120, genes=40, types=3)
    by_values = {}
    for values, loss, name in (("counts", "negative_binomial", "counts_mlp"), ("log", "mse", "mlp")):
        modality = Omics(values=values)  # type: ignore[arg-type]
        net = model(modality.spec(data), loss, encoder={"name": name, "hidden": (4,)})
        train = modality.prepare(data).train
        by_values[values] = measure(CellClusters(net), net, train.batch(torch.arange(60)))
    for name in ("pca_ari", "pca_label_silhouette", "pca_batch_silhouette"):
        assert by_values["counts"][name] == pytest.approx(by_values["log"][name], abs=1e-3)
