"""A plugin of point clouds: unordered elements, and outputs of another number of points."""

from aeframe import hookimpl


@hookimpl
def register_modalities(register):
    register("cloud", "clouds:Clouds", summary="point clouds")


@hookimpl
def register_datasets(register):
    register("shells", "clouds:Shells", summary="random points on ellipsoids")


@hookimpl
def register_losses(register):
    register("chamfer", "clouds:Chamfer", summary="squared distance to the nearest point, both ways")


@hookimpl
def register_encoders(register):
    register("pointnet", "clouds:PointNet", summary="the maximum of the features of each point")


@hookimpl
def register_decoders(register):
    register("points", "clouds:Points", summary="as many points as its option says")


@hookimpl
def register_corruptions(register):
    register("drop_points", "clouds:DropPoints", summary="points hidden at random")


@hookimpl
def register_metrics(register):
    register("coverage", "clouds:Coverage", summary="points of x with a point of the reconstruction nearby")
