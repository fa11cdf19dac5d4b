"""The parts of core, registered through the same hooks as those of a plugin. Imports nothing heavy."""

from __future__ import annotations

from aeframe.hooks import Register, hookimpl

_PARTS = "aeframe.parts"

# Modules of torch.nn and optimisers of torch.optim, by name.
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
    register("numbers", "aeframe.data.vector:Numbers", summary="numbers in a NPZ, NPY, CSV or Parquet file")
    register("vector_in_memory", "aeframe.data.vector:VectorInMemory", summary="rows that aeframe.fit received")
    register("breast_cancer", "aeframe.data.vector:BreastCancer", summary="569 rows of 30 features, embedded")
    register(
        "sparse_features",
        "aeframe.data.sparse_features:SparseFeatures",
        summary="simulated sparse sums of known features",
    )


@hookimpl
def register_corruptions(register: Register) -> None:
    at = f"{_PARTS}.corruptions"
    register("none", f"{at}:NoCorruption", summary="no corruption")
    register("gaussian", f"{at}:GaussianNoise", summary="add Gaussian noise")
    register("salt_pepper", f"{at}:SaltAndPepper", summary="set random values to the lowest or highest")
    register("masking", f"{at}:Masking", summary="mask random values")
    register("dropout", f"{at}:Dropout", summary="set random values to 0 and scale up the rest")
    at = f"{_PARTS}.element_corruptions"
    register("elements", f"{at}:ElementMasking", summary="hide random elements, such as cells of a table")
    register("swap_noise", f"{at}:SwapNoise", summary="replace random elements by those of other samples")
    at = f"{_PARTS}.masks"
    register("patches", f"{at}:PatchMasking", summary="mask random patches, for a masked autoencoder")
    register("blocks", f"{at}:BlockMasking", summary="mask a random rectangle")
    register("spans", f"{at}:SpanMasking", summary="mask random spans of positions")


@hookimpl
def register_encoders(register: Register) -> None:
    at = f"{_PARTS}.networks"
    register("own", f"{_PARTS}.own:OwnEncoder", summary="a module that aeframe.fit received")
    register("mlp", f"{at}.mlp:MLPEncoder", summary="dense layers on the flattened sample")
    register("conv", f"{at}.conv:ConvEncoder", summary="strided convolutions, in one to three dimensions")
    register("resnet", f"{at}.resnet:ResNetEncoder", summary="residual convolutions, in one to three dimensions")
    register("vit", f"{at}.vit:ViTEncoder", summary="a transformer on patches, which skips masked ones")
    register("pretrained", f"{at}.pretrained:PretrainedEncoder", summary="a frozen network from a file")


@hookimpl
def register_decoders(register: Register) -> None:
    at = f"{_PARTS}.networks"
    register("mirror", f"{at}.mirrored:mirrored_decoder", summary="the encoder, mirrored")
    register("own", f"{_PARTS}.own:OwnDecoder", summary="a module that aeframe.fit received")
    register("mlp", f"{at}.mlp:MLPDecoder", summary="dense layers")
    register("conv", f"{at}.conv:ConvDecoder", summary="upsampling convolutions, in one to three dimensions")
    register("resnet", f"{at}.resnet:ResNetDecoder", summary="residual upsampling convolutions")
    register("vit", f"{at}.vit:ViTDecoder", summary="a transformer on patches")
    register("reshape", f"{at}.reshape:Reshape", summary="only reshapes, for a latent that decodes itself")


@hookimpl
def register_latents(register: Register) -> None:
    at = f"{_PARTS}.latents"
    register("point", f"{at}.point:Point", summary="a deterministic code")
    register("identity", f"{at}.point:Identity", summary="the encoder's features as the code")
    register("gaussian", f"{at}.gaussian:Gaussian", summary="a diagonal normal posterior")
    register("vq", f"{at}.quantized.vq:VectorQuantized", summary="vector quantisation with a codebook")
    register("flow", f"{at}.flow:FlowPosterior", summary="a normal posterior transformed by a normalising flow")
    register("hamiltonian", f"{at}.hamiltonian:Hamiltonian", summary="a posterior refined by Hamiltonian dynamics")
    register(
        "riemannian",
        f"{at}.riemannian:RiemannianHamiltonian",
        summary="Hamiltonian dynamics by a learned metric",
    )
    register("hypersphere", f"{at}.hypersphere:Hypersphere", summary="a von Mises-Fisher posterior")
    register("poincare", f"{at}.poincare:Poincare", summary="wrapped or Riemannian normal on the Poincaré ball")
    register("categorical", f"{at}.categorical:Categorical", summary="relaxed one-hot classes (Gumbel-softmax)")
    register("joint", f"{at}.joint:Joint", summary="a normal posterior and relaxed classes")
    register("fsq", f"{at}.quantized.fsq:FiniteScalarQuantized", summary="finite scalar quantisation")
    register("rvq", f"{at}.quantized.residual:ResidualQuantized", summary="residual vector quantisation")
    register("rfsq", f"{at}.quantized.residual:ResidualFiniteScalar", summary="residual finite scalar quantisation")
    register("lfq", f"{at}.quantized.lookup_free:LookupFree", summary="signs as codes, without a codebook")
    register("simvq", f"{at}.quantized.simvq:SimVQ", summary="a frozen codebook times a learned matrix")
    register(
        "vq_hierarchy",
        f"{at}.quantized.hierarchy:QuantizedHierarchy",
        summary="quantised at two resolutions (VQ-VAE-2)",
    )
    at = f"{_PARTS}.latents.sparse"
    register("topk", f"{at}.topk:TopK", summary="a sparse dictionary with k active features")
    register("batch_topk", f"{at}.topk:BatchTopK", summary="a sparse dictionary with k active features on average")
    register("gated", f"{at}.gated:Gated", summary="a sparse dictionary with gates and magnitudes")
    register("jumprelu", f"{at}.jumprelu:JumpReLU", summary="a sparse dictionary with learned thresholds")
    register("matryoshka", f"{at}.matryoshka:Matryoshka", summary="nested sparse dictionaries")
    at = f"{_PARTS}.latents.hierarchy"
    register("ladder", f"{at}.ladder:Ladder", summary="dense groups, bottom-up and top-down combined")
    register("nvae", f"{at}.nvae:NVAE", summary="residual normal groups at several resolutions")
    register("vdvae", f"{at}.vdvae:VDVAE", summary="many top-down blocks at several resolutions")


@hookimpl
def register_priors(register: Register) -> None:
    at = f"{_PARTS}.priors"
    register("normal", f"{at}.normal:StandardNormal", summary="N(0, I)")
    register("mixture", f"{at}.mixture:Mixture", summary="a learned mixture of Gaussians")
    register("vamp", f"{at}.vamp:Vamp", summary="a mixture of the posteriors of learned pseudo-inputs")
    register("flow", f"{at}.flow:FlowPrior", summary="a normalising flow, learned with the model")
    register("sphere", f"{at}.sphere:UniformSphere", summary="uniform on the hypersphere")
    register("ball", f"{at}.ball:BallPrior", summary="wrapped or Riemannian normal on the Poincaré ball")
    register("categorical", f"{at}.categorical:UniformCategorical", summary="uniform over classes")
    register("joint", f"{at}.joint:JointPrior", summary="standard normal, and uniform over classes")
    register("top_down", f"{at}.top_down:TopDown", summary="each group conditioned on the groups above")


@hookimpl
def register_losses(register: Register) -> None:
    at = f"{_PARTS}.losses"
    register("own", f"{_PARTS}.own:OwnLoss", summary="a function that aeframe.fit received")
    register("mse", f"{at}.distances:SquaredError", summary="squared error")
    register("mae", f"{at}.distances:AbsoluteError", summary="absolute error")
    register("huber", f"{at}.distances:Huber", summary="squared near zero, absolute beyond delta")
    register("hinge", f"{at}.distances:Hinge", summary="hinge loss of binary data")
    register("jaccard", f"{at}.distances:Jaccard", summary="one minus the soft intersection over union")
    register("bernoulli", f"{at}.likelihoods:Bernoulli", summary="binary cross-entropy")
    register("categorical", f"{at}.likelihoods:Categorical", summary="cross-entropy over classes")
    register("mixed", f"{at}.mixed:Mixed", summary="normal and softmax, for real numbers and classes together")
    register("gaussian", f"{at}.likelihoods:Gaussian", summary="normal with fixed, learned or optimal variance")
    register("kl_divergence", f"{at}.likelihoods:KLDivergence", summary="KL divergence from target distributions")
    register("log_cosh", f"{at}.distances:LogCosh", summary="smooth: squared near zero, absolute far from it")
    register("laplace", f"{at}.heavy_tails:Laplace", summary="Laplace with fixed or learned scale")
    register("student_t", f"{at}.heavy_tails:StudentT", summary="Student's t")
    register("continuous_bernoulli", f"{at}.continuous_bernoulli:ContinuousBernoulli", summary="a density on [0, 1]")
    register(
        "discretised_logistic_mixture",
        f"{at}.logistic_mixture:LogisticMixture",
        summary="256 grey values, by default",
    )
    register("poisson", f"{at}.counts:Poisson", summary="counts whose variance is their mean")
    register("negative_binomial", f"{at}.counts:NegativeBinomial", summary="overdispersed counts")
    register("zero_inflated_negative_binomial", f"{at}.counts:ZeroInflated", summary="counts with excess zeros")
    register("patch_mse", f"{at}.patches:PatchSquaredError", summary="squared error of normalised patches")


@hookimpl
def register_objectives(register: Register) -> None:
    at = f"{_PARTS}.objectives"
    register("deterministic", f"{at}.deterministic:Deterministic", summary="reconstruction and the latent's terms")
    register("elbo", f"{at}.elbo:Elbo", summary="evidence lower bound: beta, free bits, capacity")
    register("importance", f"{at}.importance:Importance", summary="IWAE, MIWAE, PIWAE, CIWAE")
    register("mmd", f"{at}.mmd:MaximumMeanDiscrepancy", summary="kernel distance (MMD) between codes and prior")
    register("sliced", f"{at}.sliced:SlicedWasserstein", summary="sliced Wasserstein distance between codes and prior")
    register(
        "total_correlation",
        f"{at}.total_correlation:TotalCorrelation",
        summary="dependence between dimensions",
    )
    register("adversarial", f"{at}.adversarial:Adversarial", summary="-log D(z) of a discriminator of z")
    register("weak_pairs", f"{at}.weak_pairs:WeakPairs", summary="training on pairs that share some factors")


@hookimpl
def register_penalties(register: Register) -> None:
    at = f"{_PARTS}.penalties"
    register("l1", f"{at}.code:L1", summary="sum of |z|")
    register("l2", f"{at}.code:L2", summary="half the sum of z^2")
    register("kl_rate", f"{at}.code:KLRate", summary="mean activity of each unit, towards a rate")
    register("contractive", f"{at}.contractive:Contractive", summary="norm of the Jacobian dz/dx")
    register("dip", f"{at}.dip:Dip", summary="covariance of the code, towards the identity (DIP-VAE)")
    register("decoder_gradient", f"{at}.decoder_gradient:DecoderGradient", summary="norm of the decoder's Jacobian")
    register("spectral", f"{at}.spectral:Spectral", summary="largest singular values of the weights")
    register("adversarial", f"{at}.adversarial:AdversarialPenalty", summary="the generator's loss of a GAN")
    register("feature_matching", f"{at}.feature_matching:FeatureMatching", summary="distance of a critic's features")
    register("perceptual", f"{at}.perceptual:Perceptual", summary="distance of a frozen network's features")
    register(
        "feature_consistency",
        f"{at}.feature_consistency:FeatureConsistency",
        summary="distance of the encoder's features",
    )


@hookimpl
def register_critics(register: Register) -> None:
    at = f"{_PARTS}.critics"
    register("discriminator_x", f"{at}.samples:DiscriminatorX", summary="data against reconstructions")
    register("discriminator_z", f"{at}.codes:DiscriminatorZ", summary="draws from the prior against codes")
    register("permuted_codes", f"{at}.codes:PermutedCodes", summary="codes with permuted dimensions against codes")


@hookimpl
def register_activations(register: Register) -> None:
    for name, attribute in _TORCH_ACTIVATIONS.items():
        register(name, f"torch.nn:{attribute}", summary=f"torch.nn.{attribute}")
    # Those of torch.nn that have a required argument.
    at = f"{_PARTS}.activations"
    register("log_softmax", f"{at}:LogSoftmax", summary="torch.nn.LogSoftmax along the last axis")
    register("softmax", f"{at}:Softmax", summary="torch.nn.Softmax along the last axis")
    register("steep_sigmoid", f"{at}:SteepSigmoid", summary="sigmoid(4 x): slope 1 at 0, values in (0, 1)")
    register("softmin", f"{at}:Softmin", summary="torch.nn.Softmin along the last axis")
    register("threshold", f"{at}:Threshold", summary="torch.nn.Threshold, with defaults 0 and 0")


@hookimpl
def register_schedules(register: Register) -> None:
    at = f"{_PARTS}.schedules"
    register("constant", f"{at}:Constant", summary="one value for the whole run")
    register("linear", f"{at}:Linear", summary="a straight line from start to end")
    register("cosine", f"{at}:Cosine", summary="half a cosine from start to end")
    register("cyclical", f"{at}:Cyclical", summary="rise from start to end several times in a run")
    register("step", f"{at}:Step", summary="multiply by a factor at given moments")
    register("logistic", f"{at}:Logistic", summary="a logistic curve from start to end")
    register("exponential", f"{at}:Exponential", summary="an exponential curve from start to end")
    register("warmup", f"{at}:Warmup", summary="rise linearly, then fall along a cosine")


@hookimpl
def register_samplers(register: Register) -> None:
    at = f"{_PARTS}.samplers"
    register("prior", f"{at}.prior:PriorSampler", summary="the model's prior")
    register("gmm", f"{at}.gmm:GaussianMixtureSampler", summary="a Gaussian mixture fitted to the training codes")
    register("kde", f"{at}.kde:KernelDensitySampler", summary="a Gaussian kernel density of the training codes")
    register("flow", f"{at}.flow:FlowSampler", summary="a normalising flow fitted to the training codes")
    register("two_stage", f"{at}.two_stage:TwoStageSampler", summary="a second VAE fitted to the training codes")
    register("hypersphere", f"{at}.hypersphere:HypersphereSampler", summary="a von Mises-Fisher mixture of the codes")
    register("riemannian", f"{at}.riemannian:RiemannianSampler", summary="Hamiltonian Monte Carlo by a learned metric")
    register("codes", f"{at}.codes:CodeSampler", summary="frequencies of the codes at each position")
    register("autoregressive", f"{at}.autoregressive:AutoregressiveSampler", summary="a transformer over integer codes")


@hookimpl
def register_optimizers(register: Register) -> None:
    for name, attribute in _TORCH_OPTIMIZERS.items():
        register(name, f"torch.optim:{attribute}", summary=f"torch.optim.{attribute}")


@hookimpl
def register_metrics(register: Register) -> None:
    at = "aeframe.evaluation.metrics"
    register("mse", f"{at}.reconstruction:MeanSquaredError", summary="squared error per element")
    register("mae", f"{at}.reconstruction:MeanAbsoluteError", summary="absolute error per element")
    register("r2", f"{at}.reconstruction:R2Score", summary="R², 1 - error / variance of the data")
    register("nll", f"{at}.likelihood:NegativeLogLikelihood", summary="importance-weighted -log p(x) in nats")
    register("probe", f"{at}.probe:Probe", summary="labels from codes: linear probe, kNN, k-means, with baselines")
    register("mig", f"{at}.disentanglement:MutualInformationGap", summary="mutual information gap of known factors")
    register(
        "sap",
        f"{at}.disentanglement:SeparatedAttributePredictability",
        summary="separated attribute predictability of known factors",
    )
    register("dci", f"{at}.disentanglement:DCI", summary="disentanglement, completeness, informativeness")
    register(
        "factor_vae_score",
        f"{at}.disentanglement:FactorVAEScore",
        summary="which factor is fixed, from the least varying dimension",
    )
    register("interpolation", f"{at}.interpolation:Interpolation", summary="distance of decoded midpoints to the data")
    register("accuracy", f"{at}.reconstruction:Accuracy", summary="fraction of correct elements")
    register("active_units", f"{at}.latent_usage:ActiveUnits", summary="latent dimensions in use")
    register(
        "aggregate_posterior",
        f"{at}.aggregate_posterior:AggregatePosterior",
        summary="mutual information of x and z, KL terms",
    )
    register("prior_gap", f"{at}.prior_gap:PriorGap", summary="distance of the codes of data from the prior")
    register("codebook", f"{at}.latent_usage:CodebookUse", summary="fraction of codes in use, and their perplexity")
    register("fve", f"{at}.sparsity:FractionOfVarianceExplained", summary="fraction of variance that is explained")
    register("sparsity", f"{at}.sparsity:Sparsity", summary="active features per sample, and dead features")
    register("mcc", f"{at}.recovery:MeanCorrelationCoefficient", summary="correlation of true and learnt features")


@hookimpl
def register_feature_spaces(register: Register) -> None:
    at = "aeframe.evaluation.feature_spaces"
    register("pca", f"{at}:PrincipalComponents", summary="principal components of the elements of samples")


@hookimpl
def register_loggers(register: Register) -> None:
    at = "aeframe.training.loggers"
    register("wandb", f"{at}:wandb", summary="Weights & Biases (extra 'wandb')")
    register("tensorboard", f"{at}:tensorboard", summary="TensorBoard (extra 'tensorboard')")
    register("mlflow", f"{at}:mlflow", summary="MLflow (extra 'mlflow')")
    register("trackio", f"{at}:trackio", summary="trackio, local files only (extra 'trackio')")


@hookimpl
def register_configs(register: Register) -> None:
    register("core", "aeframe.conf")


@hookimpl
def register_commands(register: Register) -> None:
    at = "aeframe.cli"
    register("plugins", f"{at}.plugins:Plugins", summary="list plugins and the names that each registers")
    register("finish", f"{at}.finish:Finish", summary="save the best model of an interrupted run")
    register("evaluate", f"{at}.evaluate:Evaluate", summary="compute metrics of a model on a split of its data")
    register("encode", f"{at}.encode:Encode", summary="encode the samples in a file")
    register("decode", f"{at}.decode:Decode", summary="decode codes, such as edited ones")
    register("reconstruct", f"{at}.reconstruct:Reconstruct", summary="reconstruct the samples in a file")
    register("neighbours", f"{at}.neighbours:Neighbours", summary="find the samples with the nearest codes")
    register("interpolate", f"{at}.interpolate:Interpolate", summary="decode a path between two samples")
    register("traverse", f"{at}.traverse:Traverse", summary="decode codes along directions of the latent space")
    register("anomalies", f"{at}.anomalies:Anomalies", summary="score the samples in a file and flag anomalies")
    register("impute", f"{at}.impute:Impute", summary="fill the missing values of a file")
    register("generate", f"{at}.generate:Generate", summary="generate new samples")
    register("export", f"{at}.export:Export", summary="write a model as ONNX or torch.export programs")
    register("push", f"{at}.push:Push", summary="copy a model to a hub or a folder for others")
    register("explore", f"{at}.explore:Explore", summary="explore the codes of a model on a local page")
    register("tune", f"{at}.tune:Tune", summary="search settings of a run with Optuna")
    register("compare", f"{at}.compare:Compare", summary="print a table of finished runs")
    register("diff", f"{at}.diff:Diff", summary="print what differs between two runs")
    register(
        "rate_distortion",
        f"{at}.rate_distortion:RateDistortionCurve",
        summary="print and plot rate and distortion of runs",
    )
    register("advise", f"{at}.advise:Advise", summary="print what is wrong with a run, and what to try")
    register("report", f"{at}.report:Report", summary="write the report of a finished run as an HTML page")
    register("explain", f"{at}.explain:Explain", summary="print the documentation and options of a part")
    register("config", f"{at}.config:Config", summary="print, check or explain the config of a run")
    register("bench", f"{at}.bench:Bench", summary="print measured speeds beside what they are compared with")
    register("doctor", f"{at}.doctor:Doctor", summary="print versions, devices and plugins for an issue")
    register("check_plugin", f"{at}.check_plugin:CheckPlugin", summary="test every part that a plugin registers")
    register("new_plugin", f"{at}.new_plugin:NewPlugin", summary="create the package of a new plugin")
