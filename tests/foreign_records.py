"""Files in the formats of others, with the columns that their projects publish, for tests of imports and exports."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from test_annotations_samples import png

PROMPT = "a red car, left of two apples"
THINK = (
    "<think>\n[CURRENT_ROUND] Round#{round}\n[SCORE] {score}/10\n[ACTION] {action}\n[THINKING] {thinking}\n"
    "[SOURCE_IMAGE] {source}\n[EDIT] {edit}\n</think>"
)


def picture(folder: Path, number: int) -> tuple[str, str]:
    """A file and its hash."""
    content = png(number)
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / "images" / f"{sha256}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return f"images/{sha256}.png", sha256


def write_lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return file


def write_parquet(file: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def visual_reflection(folder: Path) -> Path:
    rows = []
    for number in (0, 1):
        images = [dict(zip(("uri", "sha256"), picture(folder, 10 * number + i), strict=True)) for i in range(2)]
        steps = [
            {"reflection": "The car is blue.", "action": "continue", "edit": "Make the car red."},
            {"reflection": "Everything is there.", "action": "stop", "edit": ""},
        ]
        rest = {"manifest_id": "m1", "source_dataset": "org/set", "source_record_id": f"r{number}"}
        rest |= {"pipeline_variant": "direct_parse", "prompt": PROMPT, "images": images, "steps": steps}
        rows.append({"trajectory_id": trajectory_id(rest)} | rest)
    return write_lines(folder / "train.jsonl", rows)


def trajectory_id(rest: dict[str, Any]) -> str:
    """By the rule of the format: SHA-256 of canonical JSON behind the name of the schema."""
    text = json.dumps(rest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return "traj_" + hashlib.sha256(f"visual_reflection_v1\0{text}".encode()).hexdigest()


def umm(folder: Path) -> Path:
    images = [png(20), png(21), None]
    texts = [
        THINK.format(round=0, score=0, action="edit", thinking="One car, two apples.", source="None", edit=PROMPT),
        THINK.format(round=1, score=4, action="edit", thinking="It is blue.", source="Image #0", edit="Make it red."),
        THINK.format(round=2, score=9, action="done", thinking="All is there.", source="Image #1", edit="None"),
    ]
    row = {
        "uid": "u1",
        "run": "run",
        "task": "t2i",
        "category": "color",
        "trajectory_subtype": "multi_round",
        "user_prompt": PROMPT,
        "system_prompt": "",
        "system_prompt_version": "",
        "meta_path": "",
        "think_list": texts,
        "step_action_list": ["edit", "edit", "done"],
        "step_role_list": ["plan", "edit", "done"],
        "step_round_list": [0, 1, 2],
        "step_source_image_list": ["None", "Image #0", "Image #1"],
        "step_image_list": images,
        "step_image_name_list": ["img_0.png", "img_1.png", ""],
        "step_image_sha256": [hashlib.sha256(i).hexdigest() if i else "" for i in images],
        "step_image_size_bytes": [len(i or b"") for i in images],
        "step_need_loss": [False, True, False],
        "n_steps": 3,
        "n_images": 2,
        "source_image_step_index": -1,
        "final_loss_step_index": 1,
        "final_image_name": "img_1.png",
    }
    return write_parquet(folder / "umm.parquet", [row])


def unicot(folder: Path) -> Path:
    first, second = picture(folder, 30)[0], picture(folder, 31)[0]
    row = {
        "data_id": "d1",
        "prompt": PROMPT,
        "input_image": [first, second],
        "output_image": [second, None],
        "edit": ["Make the car red.", "Everything is good. No editing needed."],
        "eval": ["The car is blue, the apples are there.", "All is there."],
        "eval_summary": ["The car is blue.", "All is there."],
    }
    return write_parquet(folder / "unicot.parquet", [row])


def verl_dpo(folder: Path) -> Path:
    row = {
        "data_source": "offline_dpo",
        "prompt": [{"role": "user", "content": PROMPT}],
        "negative_prompt": [{"role": "user", "content": " "}],
        "img_win": picture(folder, 40)[0],
        "img_lose": picture(folder, 41)[0],
        "win_score": 0.9,
        "lose_score": 0.1,
        "reward_model": {"style": "model", "ground_truth": PROMPT},
        "extra_info": {"split": "train", "index": 0, "raw_prompt": PROMPT, "raw_negative_prompt": " "},
    }
    return write_parquet(folder / "dpo.parquet", [row])


def genref(folder: Path) -> Path:
    with tarfile.open(folder / "genref_0.tar", "w") as tar:
        for number in (0, 1):
            members = {
                "good_image.jpg": png(50 + number),
                "bad_image.jpg": png(60 + number),
                "reflection.txt": b"The car should be red.",
                "prompt.txt": PROMPT.encode(),
                "subset.txt": b"rule",
            }
            for ending, content in members.items():
                member = tarfile.TarInfo(f"{number:06}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder / "genref_0.tar"


def r3_bench(folder: Path) -> Path:
    rows = [
        {
            "idx": number,
            "original_prompt": PROMPT,
            "bad_image": picture(folder, 70 + number)[0],
            "answer": bool(number),
            "explanation": "" if number else "The car is blue.",
            "category": "color",
            "generated_qa": {"yn_question_list": ["Is the car red?"], "yn_answer_list": ["yes"]},
        }
        for number in (0, 1)
    ]
    return write_lines(folder / "r3bench.jsonl", rows)


def flow_prompts(folder: Path) -> Path:
    (folder / "train.txt").write_text("a red car\ntwo apples\n", "utf-8")
    return folder / "train.txt"


def flow_metadata(folder: Path) -> Path:
    rows = [
        {"tag": "single_object", "include": [{"class": "car", "count": 1}], "prompt": "a photo of a car"},
        {"tag": "counting", "include": [{"class": "apple", "count": 2}], "prompt": "a photo of two apples"},
    ]
    return write_lines(folder / "train_metadata.jsonl", rows)


def pickapic(folder: Path) -> Path:
    labels = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
    rows = [
        {
            "are_different": True,
            "best_image_uid": f"uid-{number}-0",
            "caption": PROMPT,
            "has_label": True,
            "image_0_uid": f"uid-{number}-0",
            "image_0_url": "",
            "image_1_uid": f"uid-{number}-1",
            "image_1_url": "",
            "jpg_0": png(80 + number),
            "jpg_1": png(90 + number),
            "label_0": first,
            "label_1": second,
            "model_0": "sdxl",
            "model_1": "flux",
            "ranking_id": number,
            "user_id": 7,
            "num_example_per_prompt": 1,
        }
        for number, (first, second) in enumerate(labels)
    ]
    return write_parquet(folder / "pickapic.parquet", rows)


def richhf(folder: Path) -> Path:
    row = {
        "filename": "train/1.png",
        "aesthetics_score": 0.75,
        "artifact_score": 1.0,
        "misalignment_score": 0.5,
        "overall_score": 0.25,
        "artifact_map": png(100),
        "misalignment_map": png(101),
        "prompt_misalignment_label": "1 0 1 1 1 1 1",
        "prompt": PROMPT,
        "image": png(102),
    }
    return write_parquet(folder / "richhf.parquet", [row])


FILES = {
    "visual_reflection_v1": visual_reflection,
    "umm_reflection": umm,
    "unicot": unicot,
    "verl_dpo": verl_dpo,
    "genref": genref,
    "r3_bench": r3_bench,
    "pickapic": pickapic,
    "richhf": richhf,
    "flow_prompts": flow_metadata,
}
