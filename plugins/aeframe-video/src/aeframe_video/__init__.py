"""Plugin for video: registers names with import paths and imports nothing heavy."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("video", "aeframe_video.modality:Video", summary="clips of frames with one or three channels")


@hookimpl
def register_datasets(register: Register) -> None:
    register("moving_shapes", "aeframe_video.shapes:MovingShapes", summary="simulated shapes that bounce off walls")
    register("moving_mnist", "aeframe_video.arrays:MovingMNIST", summary="two moving handwritten digits, 64 x 64")
    register("video_in_memory", "aeframe_video.in_memory:VideoInMemory", summary="videos that aeframe.fit received")
    register("video_npz", "aeframe_video.arrays:VideoNPZ", summary="clips in a NPZ or NPY file")
    register("video_files", "aeframe_video.folder:VideoFiles", summary="a video, or a folder of videos and frames")


@hookimpl
def register_encoders(register: Register) -> None:
    register(
        "video_conv",
        "aeframe_video.networks:VideoConvEncoder",
        summary="3-d or (2+1)-d convolutions, optionally causal",
    )


@hookimpl
def register_decoders(register: Register) -> None:
    register(
        "video_conv",
        "aeframe_video.networks:VideoConvDecoder",
        summary="transposed 3-d or (2+1)-d convolutions, optionally causal",
    )


@hookimpl
def register_corruptions(register: Register) -> None:
    register("tubes", "aeframe_video.masks:TubeMasking", summary="mask patches, the same in every frame")
    register("frames", "aeframe_video.masks:FrameMasking", summary="mask whole frames: random, last or middle ones")


@hookimpl
def register_metrics(register: Register) -> None:
    register(
        "clip_psnr", "aeframe_video.metrics:ClipPSNR", summary="PSNR of whole clips, and of a repeated first frame"
    )
    register("frame_psnr", "aeframe_video.metrics:FramePSNR", summary="PSNR of single frames, mean and worst")
    register("frame_mse", "aeframe_video.metrics:FrameMSE", summary="squared error of the first, last and worst frame")
    register("flicker", "aeframe_video.metrics:Flicker", summary="error of the change between consecutive frames")
    register("still_mse", "aeframe_video.metrics:StillMSE", summary="squared error of one frame repeated, a baseline")


@hookimpl
def register_configs(register: Register) -> None:
    register("video", "aeframe_video.conf", summary="experiments")
