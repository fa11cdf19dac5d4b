"""Sentences, for aeframe. Importing it imports nothing heavy: names, and where their objects are."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("text", "aeframe_text.modality:Text", summary="sentences as tokens: words, characters, BPE or SMILES")


@hookimpl
def register_datasets(register: Register) -> None:
    register("text_files", "aeframe_text.files:TextFiles", summary="lines, JSONL or a CSV column of your own")
    register("sentences", "aeframe_text.sentences:Sentences", summary="sentences of a small stated grammar, embedded")


@hookimpl
def register_corruptions(register: Register) -> None:
    at = "aeframe_text.corruptions"
    register("token_dropout", f"{at}:TokenDropout", summary="put <unk> in the place of some tokens")
    register("token_deletion", f"{at}:TokenDeletion", summary="leave out some tokens")
    at = "aeframe_text.infilling"
    register("text_infilling", f"{at}:TextInfilling", summary="one <mask> for each of some stretches (BART)")
    register("span_corruption", f"{at}:SpanCorruption", summary="one <mask> for each of evenly many spans (T5)")


@hookimpl
def register_encoders(register: Register) -> None:
    register("token_rnn", "aeframe_text.rnn:TokenRNN", summary="LSTM or GRU over tokens, in one or both directions")
    register("token_transformer", "aeframe_text.transformer:TokenTransformer", summary="a transformer of tokens")


@hookimpl
def register_decoders(register: Register) -> None:
    register("token_rnn", "aeframe_text.rnn:TokenRNNDecoder", summary="LSTM or GRU, token by token")
    register(
        "token_transformer",
        "aeframe_text.transformer:TokenTransformerDecoder",
        summary="a causal transformer, token by token",
    )


@hookimpl
def register_metrics(register: Register) -> None:
    register("perplexity", "aeframe_text.metrics:Perplexity", summary="by word, with the number of words and tokens")
    register("sentences", "aeframe_text.metrics:SentenceMatch", summary="tokens and whole sentences got back exactly")


@hookimpl
def register_configs(register: Register) -> None:
    register("text", "aeframe_text.conf")


@hookimpl
def register_commands(register: Register) -> None:
    register("between", "aeframe_text.between:Between", summary="print the sentences between two sentences")
    register("molecules", "aeframe_text.molecule_report:MoleculeReport", summary="valid, unique and novel molecules")
