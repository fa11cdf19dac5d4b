"""The aeframe plugin for images. It registers names and import paths only; the objects are imported on first use."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("image", "aeframe_image.modality:Image", summary="grey or colour images")


@hookimpl
def register_datasets(register: Register) -> None:
    register("digits", "aeframe_image.digits:Digits", summary="1,797 handwritten digits of 8 x 8, no download")
    register("shapes", "aeframe_image.shapes:Shapes", summary="simulated shapes with five known factors of variation")
    register("glyphs", "aeframe_image.glyphs:Glyphs", summary="printed characters in the fonts of matplotlib")
    register("mnist", "aeframe_image.idx:MNIST", summary="70,000 handwritten digits of 28 x 28")
    register("fashion_mnist", "aeframe_image.idx:FashionMNIST", summary="70,000 images of clothing of 28 x 28")
    register("cifar10", "aeframe_image.cifar:CIFAR10", summary="60,000 colour photographs of 32 x 32")
    register("image_in_memory", "aeframe_image.in_memory:ImageInMemory", summary="images that aeframe.fit received")
    register("image_npz", "aeframe_image.arrays:ImageNPZ", summary="a NPZ or NPY file")
    register("image_folder", "aeframe_image.folder:ImageFolder", summary="a folder of PNG, JPEG or similar files")
    register("image_shards", "aeframe_image.shards:ImageShards", summary="tar archives in the WebDataset format")
    register(
        "image_huggingface",
        "aeframe_image.huggingface:HuggingFaceImages",
        summary="a Hugging Face dataset (needs the extra huggingface)",
    )


@hookimpl
def register_encoders(register: Register) -> None:
    register("vqgan", "aeframe_image.vqgan:VQGANEncoder", summary="residual stages with attention (VQGAN, KL-f8)")


@hookimpl
def register_decoders(register: Register) -> None:
    register("vqgan", "aeframe_image.vqgan:VQGANDecoder", summary="residual stages with attention (VQGAN, KL-f8)")


@hookimpl
def register_losses(register: Register) -> None:
    register("ssim", "aeframe_image.losses:StructuralSimilarity", summary="one minus structural similarity")
    register(
        "ms_ssim", "aeframe_image.losses:MultiScaleSimilarity", summary="one minus multi-scale structural similarity"
    )


@hookimpl
def register_metrics(register: Register) -> None:
    register("psnr", "aeframe_image.metrics:PSNR", summary="peak signal-to-noise ratio in dB, mean over images")
    register("ssim", "aeframe_image.metrics:SSIM", summary="structural similarity, mean over images")
    register(
        "bits_per_dimension",
        "aeframe_image.metrics:BitsPerDimension",
        summary="bound on the bits per dimension of discrete data",
    )


@hookimpl
def register_feature_spaces(register: Register) -> None:
    register("classifier", "aeframe_image.extractor:ClassifierFeatures", summary="features of a classifier of images")


@hookimpl
def register_configs(register: Register) -> None:
    register("image", "aeframe_image.conf", summary="experiments")


@hookimpl
def register_commands(register: Register) -> None:
    register("image_tiles", "aeframe_image.tile_command:ImageTiles", summary="reconstruct a large image in tiles")
    register(
        "image_classifier",
        "aeframe_image.classifier_command:ImageClassifier",
        summary="train the classifier of the feature space classifier",
    )
