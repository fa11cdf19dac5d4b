"""Video for aeframe. Importing it imports nothing heavy: these are names, and where their objects are."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("video", "aeframe_video.modality:Video", summary="clips of frames with one or three channels")


@hookimpl
def register_datasets(register: Register) -> None:
    register("moving_shapes", "aeframe_video.shapes:MovingShapes", summary="shapes that bounce off walls, embedded")
    register("moving_mnist", "aeframe_video.arrays:MovingMNIST", summary="two handwritten digits that move, 64 x 64")
    register("video_npz", "aeframe_video.arrays:VideoNPZ", summary="clips in a NPZ or NPY file of your own")
    register("video_files", "aeframe_video.folder:VideoFiles", summary="a video, or a folder of videos and frames")


@hookimpl
def register_encoders(register: Register) -> None:
    register("video_conv", "aeframe_video.networks:VideoConvEncoder", summary="3-d or (2+1)-d convolutions, causal")


@hookimpl
def register_decoders(register: Register) -> None:
    register("video_conv", "aeframe_video.networks:VideoConvDecoder", summary="the transposed ones that undo them")


@hookimpl
def register_corruptions(register: Register) -> None:
    register("tubes", "aeframe_video.masks:TubeMasking", summary="hide patches, at the same place in every frame")
    register("frames", "aeframe_video.masks:FrameMasking", summary="hide whole frames: any, the last, or those between")


@hookimpl
def register_metrics(register: Register) -> None:
    register("clip_psnr", "aeframe_video.metrics:ClipPSNR", summary="PSNR of whole clips, beside a copied first frame")
    register("frame_psnr", "aeframe_video.metrics:FramePSNR", summary="PSNR of single frames, mean and worst")
    register("frame_mse", "aeframe_video.metrics:FrameMSE", summary="squared error by frame: first, last, worst")
    register("flicker", "aeframe_video.metrics:Flicker", summary="error of the change from frame to frame")
