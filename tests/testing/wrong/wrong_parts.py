"""A plugin in which each part breaks one promise, and one breaks none."""

from aeframe import hookimpl


@hookimpl
def register_losses(register):
    register("cauchy", "right_loss:Cauchy", summary="nothing is wrong with this one")
    register("mute", "wrong_losses:Mute", summary="does not say for which data")
    register("absent", "wrong_losses:Absent", summary="an object that is not there")
    register("raising", "wrong_losses:Raising", summary="an error for all data")
    register("averaging", "wrong_losses:Averaging", summary="a mean over the batch")
    register("scalar", "wrong_losses:Scalar", summary="one number for all samples")
    register("upside_down", "wrong_losses:UpsideDown", summary="the log-likelihood, not minus it")
    register("overhearing", "wrong_losses:Overhearing", summary="what is hidden weighs in")
    register("overflowing", "wrong_losses:Overflowing", summary="reconstructions beyond the values it states")
    register("uncountable", "wrong_losses:Uncountable", summary="draws of counts that are no counts")


@hookimpl
def register_encoders(register):
    register("maskless", "wrong_networks:Maskless", summary="looks behind the mask")
    register("forgetful", "wrong_networks:Forgetful", summary="learns in a plain attribute")
    register("pickled", "wrong_networks:Pickled", summary="an object in its state")
    register("untrained", "wrong_networks:Untrained", summary="a parameter that nothing uses")
    register("unwritable", "wrong_networks:Unwritable", summary="a default that no config can hold")
    register("exploding", "wrong_networks:Exploding", summary="numbers that grow with each step")
    register("untyped", "wrong_networks:Untyped", summary="an option without a type")
    register("undocumented", "wrong_networks:Undocumented", summary="no docstring")
    register("local", "wrong_networks:Local", summary="statistics of one device's share of a batch")
    register("careless", "wrong_networks:Careless", summary="an option that is checked too late")


@hookimpl
def register_decoders(register):
    register("deaf", "wrong_networks:Deaf", summary="does not hear the condition")


@hookimpl
def register_latents(register):
    register("restless", "wrong_latents:Restless", summary="draws in evaluation")
    register("misshapen", "wrong_latents:Misshapen", summary="another shape than it states")


@hookimpl
def register_corruptions(register):
    register("in_place", "wrong_pieces:InPlace", summary="changes the batch it is given")


@hookimpl
def register_critics(register):
    register("averaging", "wrong_pieces:Averaging", summary="terms that are means over the batch")


@hookimpl
def register_activations(register):
    register("boastful", "wrong_pieces:Boastful", summary="a range that it leaves")


@hookimpl
def register_schedules(register):
    register("counting", "wrong_pieces:Counting", summary="counts how often it was asked")


@hookimpl
def register_samplers(register):
    register("unsaved", "wrong_pieces:Unsaved", summary="learns in a plain attribute")


@hookimpl
def register_optimizers(register):
    register("climber", "wrong_pieces:Climber", summary="goes up")


@hookimpl
def register_configs(register):
    register("wrong_recipes", "wrong_recipes")


@hookimpl
def register_metrics(register):
    register("mean_of_means", "wrong_pieces:MeanOfMeans", summary="every batch counts alike")


@hookimpl
def register_modalities(register):
    register("undrawn", "wrong_modalities:Undrawn", summary="draws no pictures at all")
    register("shifted", "wrong_modalities:Shifted", summary="reads other values than it wrote")
    register("outside", "wrong_modalities:Outside", summary="values outside the domain it states")
    register("unpictured", "wrong_modalities:Unpictured", summary="renders nothing")
    register("unknown", "wrong_modalities:Unknown", summary="a default that is not registered")
    register("opaque", "wrong_modalities:Opaque", summary="an object in what it learned")
    register("forgetful", "wrong_modalities:Forgetful", summary="a state without what it learned")


@hookimpl
def register_datasets(register):
    register("undrawn_noise", "wrong_modalities:UndrawnNoise", summary="rows of undrawn")
    register("shifted_noise", "wrong_modalities:ShiftedNoise", summary="rows of shifted")
    register("outside_noise", "wrong_modalities:OutsideNoise", summary="rows of outside")
    register("unpictured_noise", "wrong_modalities:UnpicturedNoise", summary="rows of unpictured")
    register("unknown_noise", "wrong_modalities:UnknownNoise", summary="rows of unknown")
    register("shapeless", "wrong_modalities:Shapeless", summary="rows of no numbers")
    register("opaque_noise", "wrong_modalities:OpaqueNoise", summary="rows of opaque")
    register("forgetful_noise", "wrong_modalities:ForgetfulNoise", summary="rows of forgetful")
