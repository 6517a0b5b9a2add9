"""Text: transformers with its Trainer, PEFT, sentence-transformers, TRL, x-transformers."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tests.real.training import Line, Outcome, loop, training

BERT = {
    "vocab_size": 24, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 16,
}  # fmt: skip
GPT2 = {
    "vocab_size": 24, "n_positions": 12, "n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 0,
    "eos_token_id": 3,
}  # fmt: skip


class Rows(Dataset[dict[str, Any]]):
    """A data set of dicts, as Hugging Face's are."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


def tokens(count: int, length: int = 12, seed: int = 0) -> Tensor:
    starts = torch.randint(3, 19, (count, 1), generator=torch.Generator().manual_seed(seed))
    return 3 + (starts + torch.arange(length)) % 16


def arguments(steps: int, **options: Any) -> dict[str, Any]:
    return {
        "output_dir": tempfile.mkdtemp(), "max_steps": steps, "per_device_train_batch_size": 8,
        "report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "no",
        "logging_steps": 5, "seed": 1, **options,
    }  # fmt: skip


def trained(line: Line, trainer: Any, data: Any = None, **options: Any) -> Any:
    from foldmon.integrations.transformers import FoldingTrainerCallback

    callback = FoldingTrainerCallback(data, **options)
    if line.on:
        trainer.add_callback(callback)
    trainer.train()
    line.monitor = callback.monitor
    return trainer.model


def losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@training(
    "HF Trainer, BERT classifier",
    "transformers",
    "accelerate",
    argument="FoldingTrainerCallback(eval_dataset)",
)
def bert(line: Line) -> Outcome:
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    def rows(seed: int) -> Rows:
        ids = tokens(64, seed=seed)
        return Rows(
            [
                {"input_ids": row, "attention_mask": torch.ones(12).long(), "labels": int(row[0]) % 2}
                for row in ids
            ]
        )

    config = BertConfig(**BERT, num_labels=2)
    trainer = Trainer(
        BertForSequenceClassification(config), TrainingArguments(**arguments(20)), train_dataset=rows(0),
        eval_dataset=rows(1),
    )  # fmt: skip
    model = trained(line, trainer, rows(1))
    return Outcome(model, 20, lambda: model(tokens(2)), losses(trainer))


@training(
    "HF Trainer, GPT-2, evaluation loader", "transformers", "accelerate", argument="FoldingTrainerCallback()"
)
def gpt2(line: Line) -> Outcome:
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    def rows(seed: int) -> Rows:
        return Rows([{"input_ids": row, "labels": row} for row in tokens(64, seed=seed)])

    config = GPT2Config(**GPT2)
    setup = TrainingArguments(**arguments(20, eval_strategy="steps", eval_steps=5))
    trainer = Trainer(GPT2LMHeadModel(config), setup, train_dataset=rows(0), eval_dataset=rows(1))
    model = trained(line, trainer)
    return Outcome(model, 20, lambda: model(tokens(2)), losses(trainer))


@training(
    "HF Trainer, GPT-2 with LoRA", "transformers", "peft", argument="FoldingTrainerCallback(eval_dataset)"
)
def lora(line: Line) -> Outcome:
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    def rows(seed: int) -> Rows:
        return Rows([{"input_ids": row, "labels": row} for row in tokens(64, seed=seed)])

    config = GPT2Config(**GPT2)
    adapted = get_peft_model(
        GPT2LMHeadModel(config), LoraConfig(r=4, target_modules=["c_attn"], task_type="CAUSAL_LM")
    )
    trainer = Trainer(adapted, TrainingArguments(**arguments(20)), train_dataset=rows(0))
    model = trained(line, trainer, rows(1))
    return Outcome(model, 20, lambda: model(input_ids=tokens(2)), losses(trainer))


@training("HF Seq2SeqTrainer, T5, collator", "transformers", argument="FoldingTrainerCallback(eval_dataset)")
def t5(line: Line) -> Outcome:
    from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, T5Config, T5ForConditionalGeneration

    def rows(seed: int) -> Rows:
        return Rows(
            [{"input_ids": row.tolist(), "labels": row.flip(0).tolist()} for row in tokens(64, seed=seed)]
        )

    def collate(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        return {key: torch.tensor([row[key] for row in batch]) for key in ("input_ids", "labels")}

    config = T5Config(
        vocab_size=24, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    trainer = Seq2SeqTrainer(
        T5ForConditionalGeneration(config), Seq2SeqTrainingArguments(**arguments(20)), train_dataset=rows(0),
        eval_dataset=rows(1), data_collator=collate,
    )  # fmt: skip
    model = trained(line, trainer, rows(1))
    return Outcome(model, 20, lambda: model(input_ids=tokens(2), labels=tokens(2)), losses(trainer))


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{n}" for n in range(20))]
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        eos_token="[SEP]",
    )


@training(
    "sentence-transformers, own loop", "sentence_transformers", "tokenizers",
    argument="forward=lambda m, x: m(x)['sentence_embedding']",
)  # fmt: skip
def sentences(line: Line) -> Outcome:
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel

    folder = tempfile.mkdtemp()
    BertModel(BertConfig(**BERT)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    words = models.Transformer(folder, max_seq_length=12)
    model = SentenceTransformer(modules=[words, models.Pooling(32)], device="cpu")
    features = {"input_ids": tokens(64) + 1, "attention_mask": torch.ones(64, 12, dtype=torch.long)}
    line(model, features, forward=lambda m, x: m(dict(x))["sentence_embedding"])

    def loss() -> Tensor:
        rows = torch.randint(64, (8,))
        out = model({key: value[rows] for key, value in features.items()})["sentence_embedding"]
        similar = out @ out.T
        return nn.functional.cross_entropy(similar, torch.arange(8))

    return Outcome(
        model, 20, lambda: model({key: value[:2] for key, value in features.items()}), loop(model, loss, 20)
    )


@training("TRL SFTTrainer", "trl", "datasets", argument="FoldingTrainerCallback()")
def trl_sft(line: Line) -> Outcome:
    from datasets import Dataset as Table
    from transformers import GPT2Config, GPT2LMHeadModel
    from trl import SFTConfig, SFTTrainer

    def table(seed: int) -> Any:
        return Table.from_dict(
            {"text": [" ".join(f"w{n - 3}" for n in row) for row in tokens(48, seed=seed).tolist()]}
        )

    config = GPT2Config(**GPT2 | {"n_positions": 32})
    setup = SFTConfig(**arguments(15, eval_strategy="steps", eval_steps=5), max_length=16, bf16=False)
    trainer = SFTTrainer(
        GPT2LMHeadModel(config),
        args=setup,
        train_dataset=table(0),
        eval_dataset=table(1),
        processing_class=tokenizer(),
    )
    model = trained(line, trainer)
    return Outcome(model, 15, lambda: model(tokens(2)), losses(trainer))


@training("x-transformers", "x_transformers")
def x_transformers(line: Line) -> Outcome:
    from x_transformers import Decoder, TransformerWrapper

    model = TransformerWrapper(
        num_tokens=24, max_seq_len=12, attn_layers=Decoder(dim=32, depth=2, heads=2, attn_dim_head=16)
    )
    x = tokens(64)
    line(model, tokens(40, seed=1))

    def loss() -> Tensor:
        rows = x[torch.randint(64, (8,))]
        return nn.functional.cross_entropy(model(rows)[:, :-1].flatten(0, 1), rows[:, 1:].flatten())

    return Outcome(model, 20, lambda: model(x[:2]), loop(model, loss, 20))
