"""The run: its stages, what each goes on from, and the finished folder."""

import dataclasses
import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import eager_attention_forward

from ixc.errors import CheckpointError, SettingsError
from ixc.models.xcomposer2 import InternLM2Tokenizer, XComposer2ForCausalLM, XComposer2Processor
from ixc.tiling import Grid
from ixc.training import train
from ixc.training.cells import HUGE_PX, LEGIBLE_PX, map_glyphs
from ixc.training.checkpoints import load_checkpoint
from ixc.training.codebook import CODE_RMS
from ixc.training.config import load_config
from ixc.training.export import export_checkpoint
from ixc.training.fonts import BUILT_IN
from ixc.training.initial import cosine_filters
from ixc.training.initial_language import LOOKS_BACK
from ixc.training.joint_stage import JointStage, ReadingStage, join_parts
from ixc.training.kinds import KIND_SHARES
from ixc.training.language_stage import LanguageStage
from ixc.training.lessons import FOUND_WEIGHT, JUMP_WEIGHT, NO_LABEL, LessonIds, draw_lesson, draw_training_paper
from ixc.training.loop import train_stage
from ixc.training.pointers import NOWHERE
from ixc.training.stages import Kit
from ixc.training.vision_stage import VisionStage
from ixc.training.vocabulary import write_tokenizer_model

STAGES = (VisionStage, LanguageStage, JointStage)


def test_rehearsals_do_not_repeat_what_the_stages_before_have_shown(tiny_config, fonts, tmp_path):
    always = dataclasses.replace(tiny_config.joint, rehearsal_share=0.999)
    kit = Kit.make(dataclasses.replace(tiny_config, joint=always, reading=always), tmp_path)
    first, second = (stage(kit, fonts).make_batch(1)["input_ids"] for stage in (ReadingStage, JointStage))
    assert first.shape != second.shape or not torch.equal(first, second)


def test_vision_and_language_stages_train_their_own_parts_only(make_kit, fonts, tmp_path):
    kit = make_kit()
    before = {name: value.clone() for name, value in kit.model.state_dict().items()}
    train_stage(VisionStage(kit, fonts), kit, tmp_path, num_workers=0, stop_at=2)
    changed = {name.split(".")[0] for name, value in kit.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"vit", "vision_proj", "plora_sub_GN", "plora_glb_GN"}


def test_a_vision_batch_is_sent_in_bytes_and_made_into_views_on_the_device(make_kit, fonts):
    """Oracle: the model's own views of each example's tiles, of which the first is the global one."""
    kit = make_kit()
    stage = VisionStage(kit, fonts)
    stage.config = dataclasses.replace(stage.config, budgets=(4,), batch_size=4, page_share=(0.3, 0.3))
    batch = stage.make_batch(0)
    grids = [Grid(*grid) for grid in batch["grids"]]
    assert batch["tiles"].dtype == torch.uint8
    assert len(batch["tiles"]) == sum(grid.rows * grid.cols for grid in grids)
    assert {grid == Grid(1, 1) for grid in grids} == {True, False}
    seen, tiles = [], iter(batch["tiles"].split([grid.rows * grid.cols for grid in grids]))
    stage._kit.model.vit.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    stage.loss(batch)
    expected = [kit.model.make_views(next(tiles), grid)[0] for grid in grids]
    torch.testing.assert_close(seen[0], torch.stack(expected))


def test_processes_that_train_together_read_codes_with_other_noise(tiny_config, fonts, tmp_path):
    def noise(data_seed):
        """Of one document: what is added to the codes where the batch is otherwise the same."""
        codes = []
        for strength in (0.0, 0.4):
            language = dataclasses.replace(tiny_config.language, noise=strength)
            kit = Kit.make(dataclasses.replace(tiny_config, language=language), tmp_path)
            codes.append(LanguageStage(dataclasses.replace(kit, data_seed=data_seed), fonts).make_batch(0)["visual"])
        return codes[1] - codes[0]

    first, again, other = noise(7), noise(7), noise(1007)
    assert torch.equal(first, again)
    assert first.std() == pytest.approx(0.4 * CODE_RMS, rel=0.1)
    num = min(len(first), len(other))
    assert abs(torch.corrcoef(torch.stack((first[:num].flatten(), other[:num].flatten())))[0, 1]) < 0.1


def test_labels_fall_on_the_answers_and_their_ends(make_kit, fonts):
    kit = make_kit()
    batch = JointStage(kit, fonts).make_batch(1)
    tokenizer = kit.processor.tokenizer
    end = tokenizer.convert_tokens_to_ids("[UNUSED_TOKEN_145]")
    for ids, labels, spans in zip(batch["input_ids"], batch["labels"], batch["spans"].rows, strict=True):
        is_answer = labels != NO_LABEL
        assert torch.equal(ids[is_answer], labels[is_answer])
        assert tokenizer.bos_token_id not in labels[is_answer].tolist()
        for index in range(1, len(ids)):
            if is_answer[index - 1] and not is_answer[index]:
                assert ids[index - 1] == end, "an answer is over only when its end has been said"
        questions = tokenizer.decode(ids[~is_answer].tolist())
        assert questions.count("user\n") == questions.count("assistant\n")
        assert [tuple(span) for span in spans] == [(3, 3 + int((ids == kit.model.config.image_token_id).sum()))]
    assert batch["tiles"].dtype == torch.uint8


def test_the_characters_that_decide_where_to_read_count_more(make_kit, fonts):
    """Oracle: an answer's first character, each that the document does not show right after the one before it, and what follows

    a text that is over; what is found by way of something else most. Fixed sentences have weights of their own
    (test_fixed_answers.py).
    """
    kit = make_kit()
    lessons = [draw_lesson(np.random.default_rng([5, seed]), fonts, [4]) for seed in range(30)]
    num_jumps = num_over = 0
    for ids in (LessonIds.of(lesson, kit.processor) for lesson in lessons if lesson.document is not None):
        before = NO_LABEL, NOWHERE
        given_weights = [
            FOUND_WEIGHT if way != NOWHERE else given for way, given in zip(ids.ways, ids.given_weights, strict=True)
        ]
        for label, glyph, weight, given in zip(ids.labels, ids.glyphs, ids.weights(), given_weights, strict=True):
            starts = label != NO_LABEL and before[0] == NO_LABEL
            jumps = glyph != NOWHERE and (before[1] == NOWHERE or before[1] + 1 != glyph)
            is_over = label != NO_LABEL and glyph == NOWHERE and before[1] != NOWHERE
            assert weight == pytest.approx(given or (JUMP_WEIGHT if starts or jumps or is_over else 1.0))
            num_jumps += jumps and not starts
            num_over += is_over
            before = label, glyph
    assert num_jumps > 20
    assert num_over > 20


def test_short_lessons_have_more_patches_than_needed_but_not_so_many_that_text_is_too_large_for_them(fonts):
    """Oracle: the size of the smallest text in the tiles, in pixels."""
    sizes, budgets = [], set()
    for seed in range(60):
        lesson = draw_lesson(np.random.default_rng([8, seed]), fonts, [1, 4, 16, 25], only_lookups=True, kinds={"table": 1.0})
        sizes.append(map_glyphs(lesson.document.glyphs(), lesson.plan).sizes.min())
        budgets.add(lesson.plan.max_patches)
    assert len(budgets) > 1
    assert min(sizes) >= LEGIBLE_PX
    assert max(sizes) < HUGE_PX


def test_joint_training_rehearses_codes_in_all_processes_at_once(tiny_config, fonts, tmp_path):
    joint = dataclasses.replace(tiny_config.joint, rehearsal_share=0.5)
    kit = Kit.make(dataclasses.replace(tiny_config, joint=joint), tmp_path)
    stage, other = JointStage(kit, fonts), JointStage(dataclasses.replace(kit, data_seed=kit.data_seed + 1), fonts)
    num_rehearsals = 0
    for step in range(12):
        batch, others = stage.make_batch(step), other.make_batch(step)
        assert ("visual" in batch) == ("visual" in others)
        num_rehearsals += "visual" in batch
    assert 2 <= num_rehearsals <= 10
    train_stage(stage, kit, tmp_path / "joint", num_workers=0)


def test_kinds_are_drawn_as_often_as_their_weights_say(tiny_config):
    joint = dataclasses.replace(tiny_config.joint, kind_weights={"sign": 0.0, "table": 3})
    kinds = joint.kind_shares()
    assert kinds["sign"] == 0
    assert sum(kinds.values()) == pytest.approx(1)
    assert kinds["table"] / kinds["form"] == pytest.approx(3 * KIND_SHARES["table"] / KIND_SHARES["form"])
    drawn = {draw_training_paper(np.random.default_rng(seed), (BUILT_IN,), kinds=kinds).kind for seed in range(60)}
    assert "sign" not in drawn
    assert "table" in drawn


def test_a_document_is_asked_about_as_often_as_the_stage_says(tiny_config, tmp_path):
    joint = dataclasses.replace(tiny_config.joint, max_turns=2)
    stage = JointStage(Kit.make(dataclasses.replace(tiny_config, joint=joint), tmp_path))
    counts = set()
    for step in range(10):
        is_answer = stage.make_batch(step)["labels"] != NO_LABEL
        counts |= set((is_answer[:, 1:] & ~is_answer[:, :-1]).sum(1).tolist())
    assert counts == {1, 2}


def test_the_tokenizer_has_one_piece_a_character_and_loses_nothing(tmp_path):
    write_tokenizer_model(tmp_path / "tokenizer.model")
    tokenizer = InternLM2Tokenizer(str(tmp_path / "tokenizer.model"))
    assert [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id] == [1, 2, 0]
    for piece in ("[UNUSED_TOKEN_144]", "[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]"):
        assert len(tokenizer(piece)["input_ids"]) == 2
    assert len(tokenizer("  Exit 24")["input_ids"]) == 1 + len("  Exit 24")
    for text in ("  two  spaces ", "Zürich 浦语 🙂\n\tend", "£1.50 ~{}"):
        assert tokenizer.sp_model.decode(tokenizer(text)["input_ids"][1:]) == text


def test_the_finished_folder_loads_to_the_same_model(make_kit, tmp_path):
    kit = make_kit()
    export_checkpoint(kit, tmp_path / "model")
    model = XComposer2ForCausalLM.from_pretrained(tmp_path / "model")
    processor = XComposer2Processor.from_pretrained(tmp_path / "model")
    ids = processor("Read the sign.")["input_ids"]
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, kit.model.eval()(ids).logits, atol=1e-5)
    assert processor.default_system == ""
    assert processor.image_processor.max_patches == kit.config.default_max_patches
    generation = json.loads((tmp_path / "model" / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["do_sample"] is False
    assert processor.tokenizer.convert_tokens_to_ids("[UNUSED_TOKEN_145]") in generation["eos_token_id"]


def test_a_deeper_model_starts_out_saying_what_the_earlier_one_says(make_kit, tiny_config, tmp_path):
    earlier = make_kit()
    export_checkpoint(earlier, tmp_path / "earlier")
    model = {**tiny_config.model, "num_hidden_layers": 3}
    config = dataclasses.replace(tiny_config, model=model, start_from=str(tmp_path / "earlier"), seed=7)
    deeper = Kit.make(config, tmp_path / "deeper")
    ids = earlier.processor("Read the sign.")["input_ids"]
    with torch.no_grad():
        assert torch.allclose(deeper.model.eval()(ids).logits, earlier.model.eval()(ids).logits, atol=1e-5)
    with pytest.raises(CheckpointError, match="no weights to start from"):
        Kit.make(dataclasses.replace(config, start_from=str(tmp_path)), tmp_path / "deeper")


def test_heads_look_back_before_any_training(raw_config, write_config, tmp_path):
    """With the shipped sizes: layer 0 of a text, head by head, mostly sees the token so many places back."""
    kit = Kit.make(dataclasses.replace(load_config(write_config(raw_config)), start_from="", eyes_from=""), tmp_path / "kit")
    ids = kit.processor("What is the total of this invoice?")["input_ids"]
    weights = []

    def recording(*args, **kwargs):
        out = eager_attention_forward(*args, **kwargs)
        weights.append(out[1])
        return out

    AttentionInterface.register("recording", recording)
    AttentionMaskInterface.register("recording", ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    kit.model.config._attn_implementation = "recording"
    kit.model.eval()(ids)
    for head, offset in enumerate(LOOKS_BACK[0]):
        assert weights[0][0, head].diagonal(-offset)[5:].median() > 0.7


def test_joining_needs_both_parts(make_kit, fonts, tmp_path):
    kit = make_kit()
    train_stage(LanguageStage(kit, fonts), kit, tmp_path / "language", num_workers=0, stop_at=1)
    with pytest.raises(CheckpointError, match=r"language stage in .* stands at step 1 of 4; go on with --stage language"):
        join_parts(make_kit(), tmp_path)
    train_stage(LanguageStage(kit, fonts), kit, tmp_path / "language", num_workers=0)
    with pytest.raises(CheckpointError, match="no vision stage"):
        join_parts(make_kit(), tmp_path)


def test_each_stage_goes_on_from_the_one_before(tiny_config, tmp_path, monkeypatch):
    """The joint stage begins with what the reading stage left; without a reading stage in the configuration, none is run."""
    monkeypatch.setattr(train, "train_stage", partial(train_stage, num_workers=0))
    with pytest.raises(CheckpointError, match="no language stage"):
        train.run_stage(tiny_config, "reading", tmp_path)
    with pytest.raises(CheckpointError, match="no reading stage"):
        train.run_stage(tiny_config, "joint", tmp_path)
    for name in ("language", "vision", "reading"):
        train.run_stage(tiny_config, name, tmp_path)
    before = load_checkpoint(tmp_path / "reading")["model"]
    XComposer2ForCausalLM.from_pretrained(tmp_path / "reading" / "model")  # a model of its own, to be averaged with
    vision = load_checkpoint(tmp_path / "vision")["model"]
    assert all(torch.equal(before[name], vision[name]) for name in before if name.startswith("vit."))  # frozen
    frozen = dataclasses.replace(tiny_config.joint, muon_lr=1e-30, adamw_lr=1e-30)
    train.run_stage(dataclasses.replace(tiny_config, joint=frozen), "joint", tmp_path)
    after = load_checkpoint(tmp_path / "joint")["model"]
    assert all(torch.allclose(after[name], before[name]) for name in before)
    train.run_stage(dataclasses.replace(tiny_config, reading=None), "reading", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_stage_trained_on_is_not_passed_over_by_those_after_it(tiny_config, tmp_path, monkeypatch):
    """After a whole run the language stage is made longer: the others are what its earlier result has led to."""
    monkeypatch.setattr(train, "train_stage", partial(train_stage, num_workers=0))
    short = {"num_steps": 1, "num_warmup": 0}
    stages = {name: dataclasses.replace(getattr(tiny_config, name), **short) for name in train.STAGES}
    for name in train.STAGES:
        train.run_stage(dataclasses.replace(tiny_config, **stages), name, tmp_path)
    finished = (tmp_path / "model" / "model.safetensors").read_bytes()
    stages["language"] = dataclasses.replace(stages["language"], num_steps=2)
    longer = dataclasses.replace(tiny_config, **stages)
    train.run_stage(longer, "language", tmp_path)
    with pytest.raises(CheckpointError, match="reading began with a result of the language stage that has changed since"):
        train.run_stage(longer, "reading", tmp_path)
    shutil.rmtree(tmp_path / "reading")
    train.run_stage(longer, "reading", tmp_path)
    with pytest.raises(CheckpointError, match="joint began with a result of the reading stage that has changed since"):
        train.run_stage(longer, "joint", tmp_path)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == finished
    shutil.rmtree(tmp_path / "joint")
    train.run_stage(longer, "joint", tmp_path)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != finished


def test_joining_takes_each_part_from_its_own_stage(make_kit, fonts, tmp_path):
    trained = {}
    for name, stage_class in (("language", LanguageStage), ("vision", VisionStage)):
        kit = make_kit()
        train_stage(stage_class(kit, fonts), kit, tmp_path / name, num_workers=0, stop_at=1)
        trained[name] = kit.model.state_dict()
    joined = make_kit()
    join_parts(joined, tmp_path, as_they_are=True)
    for key, value in joined.model.state_dict().items():
        source = "vision" if key.startswith(("vit.", "vision_proj.", "plora_")) else "language"
        assert torch.equal(value, trained[source][key]), key


def test_both_parts_can_be_written_as_one_model(tiny_config, fonts, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "load_config", lambda path: tiny_config)
    arguments = ["--config", "any.yaml", "--out", str(tmp_path), "--stage", "join"]
    assert train.main(arguments) == 1  # neither is there
    for name, stage_class in (("language", LanguageStage), ("vision", VisionStage)):
        kit = Kit.make(tiny_config, tmp_path)
        train_stage(stage_class(kit, fonts), kit, tmp_path / name, num_workers=0, stop_at=1)
    assert train.main(arguments) == 0
    written = XComposer2ForCausalLM.from_pretrained(tmp_path / "joined" / "model").state_dict()
    for name, key in (("language", "model.layers.0.attention.wo.weight"), ("vision", "vision_proj.0.weight")):
        assert torch.equal(written[key].float(), load_checkpoint(tmp_path / name)["model"][key]), key


def test_what_training_starts_with_can_be_written(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "load_config", lambda path: tiny_config)
    assert train.main(["--config", "any.yaml", "--out", str(tmp_path), "--stage", "start"]) == 0
    written = load_file(tmp_path / "start" / "model" / "model.safetensors")
    for key, value in Kit.make(tiny_config, tmp_path / "other").model.state_dict().items():
        assert torch.equal(written[key], value), key


def test_patch_filters_start_orthogonal():
    filters = cosine_filters(40, 14).flatten(1)
    products = torch.nn.functional.normalize(filters) @ torch.nn.functional.normalize(filters).T
    assert torch.allclose(products, torch.eye(40), atol=1e-4)


def test_a_continued_run_keeps_what_it_does_not_train(tiny_config, make_kit, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "train_stage", partial(train_stage, num_workers=0))
    export_checkpoint(make_kit(), tmp_path / "earlier")
    frozen = dataclasses.replace(tiny_config.joint, muon_lr=1e-30, adamw_lr=1e-30)
    begun = {"start_from": str(tmp_path / "earlier"), "vision": None, "reading": None, "joint": frozen, "seed": 7}
    config = dataclasses.replace(tiny_config, **begun)
    train.run_stage(config, "language", tmp_path / "run")
    train.run_stage(config, "vision", tmp_path / "run")
    train.run_stage(config, "joint", tmp_path / "run")
    earlier = make_kit().model.state_dict()
    language, joint = (load_checkpoint(tmp_path / "run" / name)["model"] for name in ("language", "joint"))
    for name, value in joint.items():
        source = earlier if name.startswith(("vit.", "vision_proj.", "plora_")) else language
        assert torch.allclose(value, source[name]), name
    assert not torch.equal(language["output.weight"], earlier["output.weight"])


def test_a_language_stage_of_no_steps_is_there_for_rehearsals_only(tiny_config, make_kit, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "train_stage", partial(train_stage, num_workers=0))
    rehearsals = dataclasses.replace(tiny_config.language, num_steps=0, num_warmup=0)
    with pytest.raises(SettingsError, match="only where start_from names"):
        dataclasses.replace(tiny_config, language=rehearsals)
    export_checkpoint(make_kit(), tmp_path / "earlier")
    joint = dataclasses.replace(tiny_config.joint, rehearsal_share=0.5)
    begun = {"start_from": str(tmp_path / "earlier"), "vision": None, "reading": None, "joint": joint}
    config = dataclasses.replace(tiny_config, language=rehearsals, **begun)
    train.run_stage(config, "language", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train.run_stage(config, "joint", tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
