"""Sound for aeframe. Importing it imports nothing heavy: these are names, and where their objects are."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("audio", "aeframe_audio.modality:Audio", summary="segments of sounds, mono or stereo")


@hookimpl
def register_datasets(register: Register) -> None:
    register("vowels_simulated", "aeframe_audio.simulated:VowelsSimulated", summary="sung vowels by source and filter")
    register("audio_folder", "aeframe_audio.folder:AudioFolder", summary="a folder of WAV, FLAC, OGG, MP3 or AIFF")
    register("fsdd", "aeframe_audio.fsdd:FSDD", summary="3,000 spoken digits by six speakers, 8 kHz")


@hookimpl
def register_encoders(register: Register) -> None:
    register("wave_conv", "aeframe_audio.wave:WaveConvEncoder", summary="strided 1-d convolutions, causal by choice")
    register(
        "spectrogram", "aeframe_audio.spectrogram:SpectrogramEncoder", summary="a short-time spectrum, frame by frame"
    )


@hookimpl
def register_decoders(register: Register) -> None:
    register("wave_conv", "aeframe_audio.wave:WaveConvDecoder", summary="transposed 1-d convolutions, causal by choice")
    register(
        "spectrogram",
        "aeframe_audio.spectrogram:SpectrogramDecoder",
        summary="amplitudes and phases, added up to waves",
    )


@hookimpl
def register_activations(register: Register) -> None:
    register("snake", "aeframe_audio.snake:Snake", summary="x + sin^2(a x) / a, for what repeats itself")


@hookimpl
def register_losses(register: Register) -> None:
    register("snr", "aeframe_audio.losses:SignalToNoise", summary="minus the signal-to-noise ratio of waves, in dB")


@hookimpl
def register_penalties(register: Register) -> None:
    register("stft", "aeframe_audio.penalties:STFTDistance", summary="distance of spectra at several resolutions")
    register("mel", "aeframe_audio.penalties:MelDistance", summary="distance of mel spectra at several resolutions")


@hookimpl
def register_metrics(register: Register) -> None:
    register("si_sdr", "aeframe_audio.metrics:SISDR", summary="scale-invariant signal-to-distortion ratio in dB")
    register("mel_distance", "aeframe_audio.metrics:MelDB", summary="mean difference of mel spectra in dB")
    register("log_spectral_distance", "aeframe_audio.metrics:LogSpectral", summary="difference of spectra in dB")
    register("bitrate", "aeframe_audio.metrics:Bitrate", summary="bits per second of a quantiser's codes")


@hookimpl
def register_configs(register: Register) -> None:
    register("audio", "aeframe_audio.conf", summary="the recipe of a neural codec")


@hookimpl
def register_commands(register: Register) -> None:
    register("transcode", "aeframe_audio.transcode:Transcode", summary="send a sound through a codec, as a stream")
    register("codec_report", "aeframe_audio.report:CodecReport", summary="measure a codec by codebooks that are used")
