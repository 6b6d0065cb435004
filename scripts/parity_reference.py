"""Modalities' side of `npm run parity`: runs the jobs of a JSON file with its classes and writes the answers to another.

python parity_reference.py jobs.json answers.json
A job is {"do": name, ...arguments}; an answer is {"value": ...} or {"error": text}. What the classes print goes to stderr.
"""

import contextlib
import json
import os
import random
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
with contextlib.redirect_stdout(sys.stderr):
    import jq
    import numpy as np
    import torch
    from click.testing import CliRunner
    from modalities import api
    from modalities.__main__ import main as commands
    from modalities.config import config as reference_config
    from modalities.config.component_factory import ComponentFactory
    from modalities.config.instantiation_models import TrainingComponentsInstantiationModel
    from modalities.config.pydantic_if_types import PydanticDatasetIFType
    from modalities.dataloader.collate_fns.collator_fn_wrapper_for_loss_masking import (
        LossMaskingCollateFnWrapper,
        LossMaskingTokenConfig,
    )
    from modalities.dataloader.create_index import IndexGenerator
    from modalities.dataloader.dataset import PackedMemMapDatasetBase
    from modalities.dataloader.dataset_factory import DatasetFactory
    from modalities.dataloader.filter_packed_data import filter_dataset
    from modalities.dataloader.samplers import ResumableDistributedSampler
    from modalities.models.gpt2.collator import GPT2LLMCollateFn
    from modalities.preprocessing.create_chunks import Chunking
    from modalities.registry.components import COMPONENTS
    from modalities.registry.registry import Registry
    from modalities.utils.number_conversion import NumberConversion
    from modalities.utils.seeding import calculate_hashed_seed
    from pydantic import BaseModel


def sampler(n, seed, epoch, ranks, skip, drop_last, shuffle):
    return [
        list(
            ResumableDistributedSampler(
                dataset=range(n),
                rank=rank,
                num_replicas=ranks,
                epoch=epoch,
                shuffle=shuffle,
                seed=seed,
                drop_last=drop_last,
                skip_num_global_samples=skip,
            )
        )
        for rank in range(ranks)
    ]


def distributed_sampler(n, seed, epoch, ranks, shuffle):
    def indices(rank):
        sampler = torch.utils.data.DistributedSampler(
            range(n), num_replicas=ranks, rank=rank, shuffle=shuffle, seed=seed, drop_last=True
        )
        sampler.set_epoch(epoch)
        return list(sampler)

    return [indices(rank) for rank in range(ranks)]


def python_shuffle(n, seed):
    items = list(range(n))
    random.Random(seed).shuffle(items)
    return items


def chunk(documents, chunks, chunk_id, global_seed):
    start, end = Chunking._get_chunk_range(num_chunks=chunks, num_samples=documents, chunk_id=chunk_id)
    seed = calculate_hashed_seed([str(global_seed), str(chunk_id)])
    items = list(range(start, end))
    Chunking.shuffle_file_chunks_in_place(items, seed=seed)
    return {"seed": seed, "order": items}


def split(n, seed, weights):
    random.seed(seed)
    return [random.choices(range(len(weights)), weights=weights)[0] for _ in range(n)]


def number(name, arguments):
    return getattr(NumberConversion, f"get_{name}")(**arguments)


def registry():
    def names(field_name, field):
        choices = getattr(field.validation_alias, "choices", [])
        return [field_name, *choices]

    return {
        f"{entity.component_key}.{entity.variant_key}": {
            "required": [n for n, f in entity.component_config_type.model_fields.items() if f.is_required()],
            "optional": [n for n, f in entity.component_config_type.model_fields.items() if not f.is_required()],
            "aliases": {n: names(n, f) for n, f in entity.component_config_type.model_fields.items()},
        }
        for entity in COMPONENTS
    }


def resolve(path, environment, experiments_root_path, experiment_id):
    os.environ.update(environment)
    return reference_config.load_app_config_dict(
        Path(path), experiments_root_path=Path(experiments_root_path), experiment_id=experiment_id
    )


def accepts_settings(settings):
    TrainingComponentsInstantiationModel.Settings(**settings)
    return True


def accepts_component(name, options):
    entity = next(e for e in COMPONENTS if f"{e.component_key}.{e.variant_key}" == name)
    entity.component_config_type.model_validate(options, extra="forbid")
    return True


def extract(filter, line):
    return jq.compile(filter).input_text(line).first()


def dataset_tokens(path, **sizes):
    return NumberConversion.get_num_tokens_from_packed_mem_map_dataset_continuous(
        Path(path), sample_key="x", reuse_last_target=True, **sizes
    )


def index_steps(path, **sizes):
    return NumberConversion.get_num_steps_from_raw_dataset_index(Path(path), **sizes)


def index(source, target, drop_faulty_entries=False):
    IndexGenerator(Path(source), drop_faulty_entries=drop_faulty_entries).create_index(Path(target))
    return True


def command(args):
    return CliRunner().invoke(commands, args).exit_code


def filter_packed(source, target, min_tokens):
    filter_dataset(Path(source), Path(target), lambda entry: len(entry[1]["input_ids"]) >= min_tokens)
    return True


def pack(config):
    api.pack_encoded_data(config, file_existence_policy=api.FileExistencePolicy.ERROR)
    return True


def build_dataset(config):
    class Built(BaseModel):
        dataset: PydanticDatasetIFType

    component = {"component_key": "dataset", **config}
    return ComponentFactory(registry=Registry(COMPONENTS)).build_components({"dataset": component}, Built).dataset


def dataset_samples(config):
    dataset = build_dataset(config)
    return [np.asarray(dataset[at]["x"]).tolist() for at in range(len(dataset))]


def dataset_for_training(config):
    dataset = build_dataset(config)
    GPT2LLMCollateFn(sample_key="x", target_key="y")([dataset[0]])
    return True


def read_packed(path, sequence_length):
    documents = PackedMemMapDatasetBase(Path(path), sample_key="x", load_index=True)
    blocks = DatasetFactory.get_packed_mem_map_dataset_continuous(
        raw_data_path=Path(path), sample_key="x", sequence_length=sequence_length, reuse_last_target=True
    )
    return {
        "documents": len(documents),
        "blocks": len(blocks),
        "first": np.asarray(documents[0]["x"]).tolist(),
        "last_block": np.asarray(blocks[len(blocks) - 1]["x"]).tolist(),
    }


class NumberTokenizer:
    def get_token_id(self, token):
        return int(token)


def collate(samples, begin, end):
    plain = GPT2LLMCollateFn(sample_key="x", target_key="y")
    tokens = LossMaskingTokenConfig(b_include_to_loss_token=str(begin), e_include_to_loss_token=str(end))
    masking = LossMaskingCollateFnWrapper(plain, ["y"], -100, tokens, NumberTokenizer())
    batch = masking([{"x": np.array(sample)} for sample in samples])
    return {"inputs": batch.samples["x"].tolist(), "targets": batch.targets["y"].tolist()}


FUNCTIONS = (
    *(sampler, distributed_sampler, python_shuffle, chunk, split, number, registry),
    *(resolve, accepts_settings, accepts_component, extract, dataset_tokens, index_steps, index, pack, read_packed),
    *(command, filter_packed, collate, dataset_samples, dataset_for_training),
)
JOBS = {function.__name__: function for function in FUNCTIONS}


def answer(job):
    arguments = {name: value for name, value in job.items() if name != "do"}
    try:
        return {"value": JOBS[job["do"]](**arguments)}
    except Exception as error:  # noqa: BLE001 - any error is an answer
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    jobs_path, answers_path = sys.argv[1:]
    jobs = json.loads(Path(jobs_path).read_text())
    with contextlib.redirect_stdout(sys.stderr):
        answers = [answer(job) for job in jobs]
    Path(answers_path).write_text(json.dumps(answers, default=str))
