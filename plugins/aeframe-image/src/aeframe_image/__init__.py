"""Images for aeframe. Importing it imports nothing heavy: these are names, and where their objects are."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("image", "aeframe_image.modality:Image", summary="pictures with one or three channels")


@hookimpl
def register_datasets(register: Register) -> None:
    register("digits", "aeframe_image.digits:Digits", summary="1,797 handwritten digits of 8 x 8, embedded")
    register("mnist", "aeframe_image.idx:MNIST", summary="70,000 handwritten digits of 28 x 28")
    register("fashion_mnist", "aeframe_image.idx:FashionMNIST", summary="70,000 pieces of clothing of 28 x 28")
    register("cifar10", "aeframe_image.cifar:CIFAR10", summary="60,000 colour photographs of 32 x 32")
    register("image_npz", "aeframe_image.arrays:ImageNPZ", summary="a NPZ or NPY file of your own")
    register("image_folder", "aeframe_image.folder:ImageFolder", summary="a folder of PNG, JPEG and friends")


@hookimpl
def register_metrics(register: Register) -> None:
    register("psnr", "aeframe_image.metrics:PSNR", summary="peak signal-to-noise ratio in dB, mean over images")
    register("ssim", "aeframe_image.metrics:SSIM", summary="structural similarity, mean over images")
