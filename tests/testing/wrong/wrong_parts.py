"""A plugin in which each part fails one check, and one part fails none."""

from aeframe import hookimpl


@hookimpl
def register_losses(register):
    register("cauchy", "right_loss:Cauchy", summary="a loss without a fault")
    register("without_domains", "wrong_losses:WithoutDomains", summary="no domains declared")
    register("absent", "wrong_losses:Absent", summary="an object that does not exist")
    register("raising", "wrong_losses:Raising", summary="an error for all data")
    register("averaging", "wrong_losses:Averaging", summary="a mean over the batch")
    register("scalar", "wrong_losses:Scalar", summary="one number for all samples")
    register("wrong_sign", "wrong_losses:WrongSign", summary="a log-likelihood without its minus sign")
    register("ignoring_mask", "wrong_losses:IgnoringMask", summary="masked elements counted")
    register("unbounded", "wrong_losses:Unbounded", summary="reconstructions outside the declared range")
    register("fractional_counts", "wrong_losses:FractionalCounts", summary="samples of counts that are no integers")
    register("mean_over_padding", "wrong_losses:MeanOverPadding", summary="a mean over padding too")
    register("ordered_sets", "wrong_losses:OrderedSets", summary="unordered elements compared by position")
    register("sets", "wrong_losses:Sets", summary="unordered elements, and no fault")
    register("padded_sets", "wrong_losses:PaddedSets", summary="a mean over padding too, for sets")


@hookimpl
def register_encoders(register):
    register("without_mirror", "wrong_networks:WithoutMirror", summary="no mirrored decoder, and no fault")
    register("ignoring_mask", "wrong_networks:IgnoringMask", summary="masked elements used")
    register("plain_attribute", "wrong_networks:PlainAttribute", summary="a statistic in a plain attribute")
    register("pickled", "wrong_networks:Pickled", summary="an object in its state")
    register("unused_layer", "wrong_networks:UnusedLayer", summary="a parameter without a gradient")
    register("object_default", "wrong_networks:ObjectDefault", summary="a default that no config can contain")
    register("exploding", "wrong_networks:Exploding", summary="outputs that grow with each step")
    register("untyped", "wrong_networks:Untyped", summary="an option without a type")
    register("undocumented", "wrong_networks:Undocumented", summary="no docstring")
    register("local_statistics", "wrong_networks:LocalStatistics", summary="statistics of one device's part of a batch")
    register("unvalidated_option", "wrong_networks:UnvalidatedOption", summary="an option without validation")
    register("of_elements", "wrong_networks:OfElements", summary="samples of any length, and no fault")
    register("mean_over_padding", "wrong_networks:MeanOverPadding", summary="a mean over padding too")
    register("padding_as_zeros", "wrong_networks:PaddingAsZeros", summary="padding read as zeros")
    register("without_condition", "wrong_networks:WithoutCondition", summary="the condition ignored")


@hookimpl
def register_decoders(register):
    register("unconditional", "wrong_networks:Unconditional", summary="the condition ignored")
    register("without_code", "wrong_networks:WithoutCode", summary="the code ignored")
    register("reading_neighbour", "wrong_networks:ReadingNeighbour", summary="the code of another sample added")


@hookimpl
def register_latents(register):
    register("noisy_evaluation", "wrong_latents:NoisyEvaluation", summary="noise in evaluation mode")
    register("misshapen", "wrong_latents:Misshapen", summary="another shape than declared")


@hookimpl
def register_corruptions(register):
    register("in_place", "wrong_pieces:InPlace", summary="its input changed in place")


@hookimpl
def register_critics(register):
    register("averaging", "wrong_pieces:Averaging", summary="terms that are means over the batch")


@hookimpl
def register_activations(register):
    register("out_of_range", "wrong_pieces:OutOfRange", summary="values outside the declared range")


@hookimpl
def register_schedules(register):
    register("counting_calls", "wrong_pieces:CountingCalls", summary="a value that depends on earlier calls")


@hookimpl
def register_samplers(register):
    register("unsaved_mean", "wrong_pieces:UnsavedMean", summary="a fitted mean in a plain attribute")


@hookimpl
def register_optimizers(register):
    register("ascent", "wrong_pieces:Ascent", summary="gradient ascent")


@hookimpl
def register_configs(register):
    register("wrong_recipes", "wrong_recipes")


@hookimpl
def register_metrics(register):
    register("mean_of_means", "wrong_pieces:MeanOfMeans", summary="equal weights for batches of different sizes")
    register("mean_of_hits", "wrong_pieces:MeanOfHits", summary="the same, and 0 without training")
    register("random_half", "wrong_pieces:RandomHalf", summary="a random half of the elements")
    register("random_half_of_numpy", "wrong_pieces:RandomHalfOfNumpy", summary="a random half, drawn by numpy")
    register("over_padding", "wrong_pieces:OverPadding", summary="a mean over padding too")


@hookimpl
def register_penalties(register):
    register("close_values", "wrong_pieces:CloseValues", summary="0 for all samples")


@hookimpl
def register_modalities(register):
    register("without_render", "wrong_modalities:WithoutRender", summary="an abstract method not defined")
    register("inverted", "wrong_modalities:Inverted", summary="other values read than written")
    register("not_restoring", "wrong_modalities:NotRestoring", summary="other samples restored than prepared")
    register("gathering", "wrong_modalities:Gathering", summary="rows that are written at once")
    register("careless_reader", "wrong_modalities:CarelessReader", summary="errors of NumPy for damaged files")
    register("ordered", "wrong_modalities:Ordered", summary="sets with an encoder that reads their order")
    register("outside", "wrong_modalities:Outside", summary="values outside the declared domain")
    register("rendering_none", "wrong_modalities:RenderingNone", summary="no figure rendered")
    register("unregistered_default", "wrong_modalities:UnregisteredDefault", summary="a default that is not registered")
    register("object_state", "wrong_modalities:ObjectState", summary="an object in its state")
    register("incomplete_state", "wrong_modalities:IncompleteState", summary="a learned value missing in its state")
    register("undeclared_mask", "wrong_modalities:UndeclaredMask", summary="masks that are not declared")
    register("padded", "wrong_modalities:Padded", summary="masked values that are NaN, and no fault")
    register("reading_masked", "wrong_modalities:ReadingMasked", summary="an encoder that reads masked values")
    register("not_drawing_nan", "wrong_modalities:NotDrawingNaN", summary="pictures of complete samples only")
    register("showing_one", "wrong_modalities:ShowingOne", summary="the first of all samples is shown")
    register("forgetting", "wrong_modalities:Forgetting", summary="a learned scale of files missing in its state")


@hookimpl
def register_datasets(register):
    register("without_render_noise", "wrong_modalities:WithoutRenderNoise", summary="rows of without_render")
    register("inverted_noise", "wrong_modalities:InvertedNoise", summary="rows of inverted")
    register("gathering_noise", "wrong_modalities:GatheringNoise", summary="rows of gathering")
    register("careless_reader_noise", "wrong_modalities:CarelessReaderNoise", summary="rows of careless_reader")
    register("ordered_noise", "wrong_modalities:OrderedNoise", summary="sets of ordered")
    register("undeclared_mask_noise", "wrong_modalities:UndeclaredMaskNoise", summary="rows of undeclared_mask")
    register("outside_noise", "wrong_modalities:OutsideNoise", summary="rows of outside")
    register("rendering_none_noise", "wrong_modalities:RenderingNoneNoise", summary="rows of rendering_none")
    register(
        "unregistered_default_noise",
        "wrong_modalities:UnregisteredDefaultNoise",
        summary="rows of unregistered_default",
    )
    register("empty_shape", "wrong_modalities:EmptyShape", summary="rows of zero numbers")
    register("object_state_noise", "wrong_modalities:ObjectStateNoise", summary="rows of object_state")
    register("incomplete_state_noise", "wrong_modalities:IncompleteStateNoise", summary="rows of incomplete_state")
    for name in ("padded", "reading_masked", "forgetting"):
        owner = "".join(word.capitalize() for word in name.split("_"))
        register(f"{name}_noise", f"wrong_modalities:{owner}Noise", summary=f"rows of {name}")
    register("showing_one_noise", "wrong_modalities:ShowingOneNoise", summary="rows of showing_one")
    register("not_drawing_nan_noise", "wrong_modalities:NotDrawingNaNNoise", summary="rows of not_drawing_nan")
    register("global_noise", "wrong_modalities:GlobalNoise", summary="drawn from the global generator")
    register("numpy_noise", "wrong_modalities:NumpyNoise", summary="drawn without a seed")
    register("hashed_noise", "wrong_modalities:HashedNoise", summary="drawn with another seed in each process")
