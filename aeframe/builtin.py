"""Plugin zero: every part of core, registered through the hooks a third party uses. Imports nothing heavy."""

from __future__ import annotations

from aeframe.hooks import Register, hookimpl

_PARTS = "aeframe.parts"

# torch's own, by their usual names.
_TORCH_ACTIVATIONS = {
    "identity": "Identity", "celu": "CELU", "elu": "ELU", "gelu": "GELU", "glu": "GLU", "hardshrink": "Hardshrink",
    "hardsigmoid": "Hardsigmoid", "hardswish": "Hardswish", "hardtanh": "Hardtanh", "leaky_relu": "LeakyReLU",
    "log_sigmoid": "LogSigmoid", "mish": "Mish", "prelu": "PReLU", "relu": "ReLU", "relu6": "ReLU6",
    "rrelu": "RReLU", "selu": "SELU", "sigmoid": "Sigmoid", "silu": "SiLU", "softmax2d": "Softmax2d",
    "softplus": "Softplus", "softshrink": "Softshrink", "softsign": "Softsign", "tanh": "Tanh",
    "tanhshrink": "Tanhshrink",
}  # fmt: skip
_TORCH_OPTIMIZERS = {
    "adam": "Adam", "adamw": "AdamW", "adamax": "Adamax", "nadam": "NAdam", "radam": "RAdam", "sgd": "SGD",
    "rmsprop": "RMSprop", "adagrad": "Adagrad", "adafactor": "Adafactor",
}  # fmt: skip


@hookimpl
def register_modalities(register: Register) -> None:
    register("vector", "aeframe.data.vector:Vector", summary="rows of numbers")


@hookimpl
def register_datasets(register: Register) -> None:
    register("table", "aeframe.data.vector:Table", summary="a NPZ, NPY, CSV or Parquet file of your own")
    register("breast_cancer", "aeframe.data.vector:BreastCancer", summary="569 rows of 30 features, embedded")


@hookimpl
def register_corruptions(register: Register) -> None:
    at = f"{_PARTS}.corruptions"
    register("none", f"{at}:NoCorruption", summary="the encoder sees the clean x")
    register("gaussian", f"{at}:GaussianNoise", summary="add Gaussian noise")
    register("salt_pepper", f"{at}:SaltAndPepper", summary="set values to the lowest or highest")
    register("masking", f"{at}:Masking", summary="hide values")
    register("dropout", f"{at}:Dropout", summary="hide values and scale up the rest")


@hookimpl
def register_encoders(register: Register) -> None:
    at = f"{_PARTS}.networks"
    register("mlp", f"{at}.mlp:MLPEncoder", summary="dense layers on the flattened sample")
    register("conv", f"{at}.conv:ConvEncoder", summary="strided convolutions, in one to three dimensions")
    register("resnet", f"{at}.resnet:ResNetEncoder", summary="residual convolutions, in one to three dimensions")


@hookimpl
def register_decoders(register: Register) -> None:
    at = f"{_PARTS}.networks"
    register("mirror", f"{at}.mirror:mirror", summary="the encoder, turned round")
    register("mlp", f"{at}.mlp:MLPDecoder", summary="dense layers")
    register("conv", f"{at}.conv:ConvDecoder", summary="upsampling convolutions, in one to three dimensions")
    register("resnet", f"{at}.resnet:ResNetDecoder", summary="residual upsampling convolutions")


@hookimpl
def register_latents(register: Register) -> None:
    at = f"{_PARTS}.latents"
    register("point", f"{at}.point:Point", summary="a plain code")
    register("gaussian", f"{at}.gaussian:Gaussian", summary="a diagonal normal posterior")
    register("vq", f"{at}.quantized:VectorQuantized", summary="vector quantisation with a codebook")
    register("fsq", f"{at}.quantized:FiniteScalarQuantized", summary="finite scalar quantisation")


@hookimpl
def register_priors(register: Register) -> None:
    at = f"{_PARTS}.priors"
    register("normal", f"{at}.normal:StandardNormal", summary="N(0, I)")
    register("mixture", f"{at}.mixture:Mixture", summary="a learned mixture of Gaussians")


@hookimpl
def register_losses(register: Register) -> None:
    at = f"{_PARTS}.losses"
    register("mse", f"{at}.distances:SquaredError", summary="squared error")
    register("mae", f"{at}.distances:AbsoluteError", summary="absolute error")
    register("huber", f"{at}.distances:Huber", summary="squared near zero, absolute beyond delta")
    register("hinge", f"{at}.distances:Hinge", summary="margin of binary data")
    register("jaccard", f"{at}.distances:Jaccard", summary="one minus the soft intersection over union")
    register("bernoulli", f"{at}.likelihoods:Bernoulli", summary="binary cross-entropy")
    register("categorical", f"{at}.likelihoods:Categorical", summary="cross-entropy of classes")
    register("gaussian", f"{at}.likelihoods:Gaussian", summary="normal with fixed, learned or optimal variance")
    register("kl_divergence", f"{at}.likelihoods:KLDivergence", summary="targets that are distributions")


@hookimpl
def register_objectives(register: Register) -> None:
    at = f"{_PARTS}.objectives"
    register("deterministic", f"{at}.deterministic:Deterministic", summary="reconstruction, and what the latent asks")
    register("elbo", f"{at}.elbo:Elbo", summary="evidence lower bound: beta, free bits, capacity")
    register("adversarial", f"{at}.adversarial:Adversarial", summary="a discriminator on z")


@hookimpl
def register_penalties(register: Register) -> None:
    at = f"{_PARTS}.penalties"
    register("l1", f"{at}.code:L1", summary="sum of |z|")
    register("contractive", f"{at}.contractive:Contractive", summary="norm of the code's Jacobian by x")


@hookimpl
def register_activations(register: Register) -> None:
    for name, attribute in _TORCH_ACTIVATIONS.items():
        register(name, f"torch.nn:{attribute}", summary=f"torch.nn.{attribute}")
    # Those that torch leaves an argument of open.
    at = f"{_PARTS}.activations"
    register("log_softmax", f"{at}:LogSoftmax", summary="torch.nn.LogSoftmax along the last axis")
    register("softmax", f"{at}:Softmax", summary="torch.nn.Softmax along the last axis")
    register("softmin", f"{at}:Softmin", summary="torch.nn.Softmin along the last axis")
    register("threshold", f"{at}:Threshold", summary="torch.nn.Threshold, with defaults 0 and 0")


@hookimpl
def register_schedules(register: Register) -> None:
    at = f"{_PARTS}.schedules"
    register("constant", f"{at}:Constant", summary="stay at a value")
    register("linear", f"{at}:Linear", summary="a straight line from start to end")
    register("cosine", f"{at}:Cosine", summary="half a cosine from start to end")
    register("cyclical", f"{at}:Cyclical", summary="rise several times in a run")
    register("step", f"{at}:Step", summary="multiply by a factor at given moments")
    register("warmup", f"{at}:Warmup", summary="rise, then fall along a cosine")


@hookimpl
def register_samplers(register: Register) -> None:
    at = f"{_PARTS}.samplers"
    register("prior", f"{at}.prior:PriorSampler", summary="draw z from the prior")
    register("gmm", f"{at}.gmm:GaussianMixtureSampler", summary="a Gaussian mixture fitted to the training codes")
    register("codes", f"{at}.codes:CodeSampler", summary="each position's code by its frequency in training")


@hookimpl
def register_optimizers(register: Register) -> None:
    for name, attribute in _TORCH_OPTIMIZERS.items():
        register(name, f"torch.optim:{attribute}", summary=f"torch.optim.{attribute}")


@hookimpl
def register_metrics(register: Register) -> None:
    at = "aeframe.evaluation"
    register("mse", f"{at}.reconstruction:MeanSquaredError", summary="squared error per element")
    register("mae", f"{at}.reconstruction:MeanAbsoluteError", summary="absolute error per element")
    register("explained_variance", f"{at}.reconstruction:ExplainedVariance", summary="1 - error / variance of the data")
    register("accuracy", f"{at}.reconstruction:Accuracy", summary="share of elements that are right")
    register("active_units", f"{at}.latent:ActiveUnits", summary="latent dimensions in use")
    register("codebook", f"{at}.latent:CodebookUse", summary="share of codes in use, and their perplexity")


@hookimpl
def register_loggers(register: Register) -> None:
    at = "aeframe.training.loggers"
    register("wandb", f"{at}:wandb", summary="Weights & Biases (extra 'wandb')")
    register("tensorboard", f"{at}:tensorboard", summary="TensorBoard (extra 'tensorboard')")
    register("mlflow", f"{at}:mlflow", summary="MLflow (extra 'mlflow')")


@hookimpl
def register_configs(register: Register) -> None:
    register("core", "aeframe.conf")


@hookimpl
def register_commands(register: Register) -> None:
    at = "aeframe.cli"
    register("plugins", f"{at}.plugins:Plugins", summary="list plugins and what each adds")
    register("evaluate", f"{at}.evaluate:Evaluate", summary="measure a run on a split of its data")
    register("encode", f"{at}.encode:Encode", summary="write the codes of a file's samples")
    register("reconstruct", f"{at}.reconstruct:Reconstruct", summary="write the reconstructions of a file's samples")
    register("generate", f"{at}.generate:Generate", summary="write new samples")
    register("explain", f"{at}.explain:Explain", summary="what a part is: documentation, options, what it fits")
    register("config", f"{at}.config:Config", summary="show, check or question the config of a run")
    register("doctor", f"{at}.doctor:Doctor", summary="versions, devices, plugins: text for an issue")
    register("check_plugin", f"{at}.check_plugin:CheckPlugin", summary="try everything that a plugin registers")
    register("new_plugin", f"{at}.new_plugin:NewPlugin", summary="write the package of a new plugin")
