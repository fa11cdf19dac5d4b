"""The aeframe plugin for text. It registers names and import paths only; the objects are imported on first use."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("text", "aeframe_text.modality:Text", summary="sentences as tokens: words, characters, BPE or SMILES")


@hookimpl
def register_datasets(register: Register) -> None:
    register(
        "text_files",
        "aeframe_text.text_files:TextFiles",
        summary="lines, JSON, a column of CSV or Parquet, a folder",
    )
    register("text_in_memory", "aeframe_text.text_in_memory:TextInMemory", summary="strings that aeframe.fit received")
    register(
        "sentences", "aeframe_text.sentences:Sentences", summary="random sentences of a small grammar, no download"
    )


@hookimpl
def register_corruptions(register: Register) -> None:
    at = "aeframe_text.corruptions"
    register("token_dropout", f"{at}:TokenDropout", summary="replace random tokens by <unk>")
    register("token_deletion", f"{at}:TokenDeletion", summary="delete random tokens")
    at = "aeframe_text.infilling"
    register("text_infilling", f"{at}:TextInfilling", summary="one <mask> for each span of Poisson length (BART)")
    register("span_corruption", f"{at}:SpanCorruption", summary="one <mask> for each span of a given mean length (T5)")


@hookimpl
def register_encoders(register: Register) -> None:
    register("token_rnn", "aeframe_text.rnn:TokenRNN", summary="LSTM or GRU over tokens, in one or both directions")
    register(
        "token_transformer",
        "aeframe_text.transformer:TokenTransformer",
        summary="bidirectional transformer over tokens",
    )


@hookimpl
def register_decoders(register: Register) -> None:
    register("token_rnn", "aeframe_text.rnn:TokenRNNDecoder", summary="autoregressive LSTM or GRU")
    register(
        "token_transformer",
        "aeframe_text.transformer:TokenTransformerDecoder",
        summary="autoregressive (causal) transformer",
    )


@hookimpl
def register_metrics(register: Register) -> None:
    register("perplexity", "aeframe_text.metrics:Perplexity", summary="perplexity per word, nats per word and token")
    register("bigrams", "aeframe_text.bigrams:Bigrams", summary="perplexity of a bigram model, a baseline")
    register("sentences", "aeframe_text.metrics:SentenceMatch", summary="exactly reconstructed tokens and sentences")


@hookimpl
def register_feature_spaces(register: Register) -> None:
    register("ngrams", "aeframe_text.ngrams:CharacterNgrams", summary="components of character n-gram frequencies")


@hookimpl
def register_configs(register: Register) -> None:
    register("text", "aeframe_text.conf")


@hookimpl
def register_commands(register: Register) -> None:
    register("between", "aeframe_text.between:Between", summary="interpolate between two sentences")
    register("molecules", "aeframe_text.molecule_report:MoleculeReport", summary="validity, uniqueness and novelty")
