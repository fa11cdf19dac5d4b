"""Plugin for audio: registers names with import paths and imports nothing heavy."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("audio", "aeframe_audio.modality:Audio", summary="segments of sounds, mono or stereo")


@hookimpl
def register_datasets(register: Register) -> None:
    register(
        "vowels_simulated", "aeframe_audio.simulated:VowelsSimulated", summary="sung vowels of a source-filter model"
    )
    register(
        "audio_folder",
        "aeframe_audio.folder:AudioFolder",
        summary="a sound file or a folder: WAV, FLAC, MP3, M4A, ...",
    )
    register(
        "audio_in_memory", "aeframe_audio.audio_in_memory:AudioInMemory", summary="sounds that aeframe.fit received"
    )
    register("fsdd", "aeframe_audio.fsdd:FSDD", summary="3,000 spoken digits by six speakers, 8 kHz")


@hookimpl
def register_encoders(register: Register) -> None:
    register(
        "wave_conv", "aeframe_audio.wave_conv:WaveConvEncoder", summary="strided 1-d convolutions, causal or symmetric"
    )
    register(
        "spectrogram",
        "aeframe_audio.spectrogram:SpectrogramEncoder",
        summary="convolutions over short-time Fourier spectra",
    )


@hookimpl
def register_decoders(register: Register) -> None:
    register(
        "wave_conv",
        "aeframe_audio.wave_conv:WaveConvDecoder",
        summary="transposed 1-d convolutions, causal or symmetric",
    )
    register(
        "spectrogram",
        "aeframe_audio.spectrogram:SpectrogramDecoder",
        summary="convolutions to amplitudes and phases, then an inverse short-time Fourier transform",
    )


@hookimpl
def register_activations(register: Register) -> None:
    register("snake", "aeframe_audio.snake:Snake", summary="x + sin^2(a x) / a, for periodic signals")


@hookimpl
def register_losses(register: Register) -> None:
    register("snr", "aeframe_audio.losses:SignalToNoise", summary="negative signal-to-noise ratio of waves, in dB")


@hookimpl
def register_penalties(register: Register) -> None:
    register("stft", "aeframe_audio.penalties:STFTDistance", summary="distance of spectra at several resolutions")
    register("mel", "aeframe_audio.penalties:MelDistance", summary="distance of mel spectra at several resolutions")


@hookimpl
def register_metrics(register: Register) -> None:
    register("si_sdr", "aeframe_audio.metrics:SISDR", summary="scale-invariant signal-to-distortion ratio in dB")
    register("mel_distance", "aeframe_audio.metrics:MelDB", summary="mean absolute difference of mel spectra in dB")
    register("log_spectral_distance", "aeframe_audio.metrics:LogSpectral", summary="log-spectral distance in dB")
    register("bitrate", "aeframe_audio.metrics:Bitrate", summary="bits per second of the codes of a quantiser")
    register(
        "window_pca",
        "aeframe_audio.window_pca:WindowPCA",
        summary="squared error of PCA with as many numbers a second as the code, a baseline of mse",
    )


@hookimpl
def register_feature_spaces(register: Register) -> None:
    register("log_mel", "aeframe_audio.mel_statistics:MelStatistics", summary="components of levels in mel bands")


@hookimpl
def register_configs(register: Register) -> None:
    register("audio", "aeframe_audio.conf", summary="recipes of neural codecs")


@hookimpl
def register_commands(register: Register) -> None:
    register("transcode", "aeframe_audio.transcode:Transcode", summary="encode and decode a sound file as a stream")
    register(
        "codec_report", "aeframe_audio.codec_report:CodecReport", summary="evaluate a codec by number of codebooks"
    )
