"""Whole programs on the virtual card: who holds the memory, on which line, and how many bytes a step.

The expectations were worked out by hand from shapes: elements times four bytes, rounded up to blocks of 512.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from memdoctor.run import run

pytestmark = pytest.mark.usefixtures("searches_need_not_wait")

PROGRAMS = Path(__file__).parent / "retention_programs"


KEEPS = [
    pytest.param("asyncio_producer", "received", 15, 1024, False, id="a list in a coroutine that waits"),
    pytest.param("context_output", "ctx.y", 15, 1024, True, id="the output of a custom function on its ctx"),
    pytest.param("dataclass_state", "Progress.embeddings", 17, 2560, False, id="a field of a dataclass with slots"),
    pytest.param("decorator_history", "penalty.results", 13, 2048, True, id="a list on a decorated function"),
    pytest.param("epoch_lists", "Log.epochs", 15, 1024, False, id="one list for each epoch, all kept"),
    pytest.param("exceptions_kept", "Monitor.problems", 16, 4096, True, id="exceptions and what their frames hold"),
    pytest.param("generator_local", "served", 11, 1536, False, id="a generator that only the for statement holds"),
    pytest.param("metaclass_registry", "Registered.instances", 12, 2560, False, id="a registry of a metaclass"),
    pytest.param("named_tuples", "run.transitions", 21, 3072, False, id="named tuples in a namespace"),
    pytest.param("partial_callback", "sink", 10, 2560, False, id="a list bound by partial"),
    pytest.param("queue_and_thread", "results", 24, 512, False, id="a queue that nobody empties"),
    pytest.param("chained_errors", "last_error", 27, 1536, False, id="an exception and all those it was raised from"),
    pytest.param("context_variable", "trace", 11, 2560, False, id="a list in a context variable"),
    pytest.param("descriptor_versions", "Versioned.versions", 16, 1024, True, id="a descriptor that forgets nothing"),
    pytest.param("finalizers", "weakref.finalize", 18, 3584, False, id="arguments of finalizers"),
    pytest.param("forgotten_optimizers", "MetaLearner.inner", 18, 8 * 512, False, id="optimizers of earlier tasks"),
    pytest.param("future_results", "pending", 24, 2048, False, id="futures with their results"),
    pytest.param("heap_of_hard_examples", "Miner.heap", 15, 2560, False, id="a heap that is never popped"),
    pytest.param("hook_closure", "seen", 12, 8704, True, id="a list in the closure of a hook"),
    pytest.param("keyword_default", "_known", 8, 2560, False, id="a default that is made once, and filled late"),
    pytest.param("logging_records", "Trail.records", 15, 2048, True, id="records of a logging handler"),
    pytest.param("notebook_out", "Shell.user_ns['Out']", 19, 3072, True, id="the Out of a notebook"),
    pytest.param("suspended_generators", "Server.sessions", 22, 3072, False, id="generators that wait"),
    pytest.param("teed_loader", "training", 15, 2560, False, id="batches that a tee keeps for its other half"),
    pytest.param(
        "validation_outputs", "LitClassifier.validation_step_outputs", 21, 1024, False, id="two every third step"
    ),
    pytest.param("views_by_label", "gallery[*]", 11, 6144, False, id="rows that keep their whole batch"),
    pytest.param("retained_hook", "net[1]._forward_hooks", 12, 3072, False, id="hooks that are never removed"),
    pytest.param("average_backups", "EMA.backups", 21, 2219, False, id="backups that nothing takes back"),
    pytest.param("background_tasks", "background", 18, 1024, False, id="tasks that are done, with their results"),
    pytest.param("backward_probe", "GradientProbe.gradients", 18, 14336, False, id="gradients from backward hooks"),
    pytest.param("buffer_queue", "Contrast.queue", 16, 2048, False, id="a buffer of the model that gets longer"),
    pytest.param("cached_method", "table", 16, 2560, False, id="a cached method"),
    pytest.param("chained_batches", "rehearsal", 17, 1536, False, id="an iterator that is chained to the last one"),
    pytest.param("checkpoint_hooks", "model._state_dict_hooks", 17, 1536, False, id="hooks on state_dict"),
    pytest.param("child_scopes", "scope", 25, 2560, False, id="children of a ChainMap"),
    pytest.param("class_level_values", "Meter.values", 15, 1536, False, id="a list of the class, not the instance"),
    pytest.param("every_fourth", "gallery", 12, 640, False, id="every fourth step"),
    pytest.param("functional_state", "TrainState.outputs", 23, 1536, False, id="a tuple in a state that is made anew"),
    pytest.param("gan_fixed_noise", "img_list", 32, 2048, True, id="pictures with their graphs"),
    pytest.param("growing_groups", "optimizer", 13, 1536, False, id="parameter groups"),
    pytest.param("hard_examples_late", "Miner.examples", 16, 1536, False, id="from the fifteenth step on"),
    pytest.param("histogram_writer", "SummaryWriter.events", 21, 8704, False, id="a writer that is never flushed"),
    pytest.param("ignite_engine", "State.outputs", 62, 1024, False, id="outputs in the state of an engine"),
    pytest.param("known_subclasses", "Task.known", 14, 1536, False, id="classes made at run time"),
    pytest.param("lazy_sum", "lazy_total", 28, 3072, False, id="a function that calls the last one"),
    pytest.param("memo_by_tensor", "cache", 16, 2048, False, id="a memo whose keys are tensors"),
    pytest.param("notebook_underscores", "Notebook.user_ns", 33, 1536, False, id="numbered results of a notebook"),
    pytest.param("numbered_attributes", "Tracer.activation_*", 14, 1536, False, id="numbered attributes"),
    pytest.param("numbered_buffers", "ProtoNet.proto_*", 16, 1536, False, id="numbered buffers"),
    pytest.param("object_array", "Recorder.table", 16, 1536, False, id="a longer and longer object array"),
    pytest.param("packed_tensors", "TensorStore.kept", 17, 4096, True, id="what saved_tensors_hooks have packed"),
    pytest.param("pool_results", "Evaluator.results", 22, 2560, False, id="results of a pool of threads"),
    pytest.param("quantizer_calls", "Quantize.calls", 14, 2560, True, id="inputs of a custom function on its class"),
    pytest.param("reinforce", "Policy.saved_log_probs", 28, 2560, True, id="log probabilities of all episodes"),
    pytest.param("result_rows", "rows", 22, 2048, False, id="rows of a table"),
    pytest.param("ring_with_insert", "ReplayRing.data", 16, 2048, False, id="a ring that inserts"),
    pytest.param("segment_memory", "Attention.memory", 17, 2048, False, id="a memory that is never cut"),
    pytest.param("shared_default_cache", "cache", 23, 2560, False, id="a default argument of a constructor"),
    pytest.param("snapshot_callback", "Snapshots.weights", 26, 1024, False, id="weights every second step"),
    pytest.param("step_hook_norms", "norms", 13, 512, False, id="norms from a hook of the optimizer"),
    pytest.param("stream_dataset", "Stream.seen", 17, 3072, False, id="what a data set has given out"),
    pytest.param("tensor_hooks", "gradients", 13, 3072, False, id="gradients from a hook on a tensor"),
    pytest.param("thread_local_losses", "context.samples", 14, 1536, False, id="a list in a thread-local object"),
    pytest.param("trainer_log_history", "TrainerState.log_history", 49, 1536, False, id="the log of a trainer"),
    pytest.param("tree_search", "Planner.current", 29, 512, False, id="a tree that is never pruned"),
    pytest.param("unlimited_lru", "FeatureCache.entries", 21, 2048, False, id="a cache whose limit is None"),
    pytest.param("user_dict_history", "History.data['logits']", 13, 1536, False, id="a dictionary of its own kind"),
    pytest.param("weak_keys", "Store.features", 28, 1536, False, id="values that hold their weak keys"),
    pytest.param("async_stream", "unacknowledged", 14, 2048, False, id="a local of an asynchronous generator"),
    pytest.param("attention_maps", "Block.maps", 17, 14336, False, id="a list in each of four blocks"),
    pytest.param("by_epoch_and_step", "Experiment.probabilities", 25, 2048, False, id="keys of two numbers"),
    pytest.param("collating", "Collate.recent", 17, 1536, False, id="a list that a collate function makes anew"),
    pytest.param("cycled_stream", "batches", 17, 3072, False, id="itertools.cycle around a stream"),
    pytest.param("epoch_checkpoints", "checkpoints", 13, 2560, False, id="a checkpoint at each epoch of two steps"),
    pytest.param("evaluation_pairs", "Evaluator.pairs", 17, 4096, False, id="an evaluation that gathers for ever"),
    pytest.param("exc_infos", "Supervisor.failures", 18, 3584, False, id="what sys.exc_info() says"),
    pytest.param("exit_stack", "stack", 19, 4096, False, id="callbacks on an ExitStack"),
    pytest.param("expressions", "total", 29, 4096, False, id="sums that are objects"),
    pytest.param("layer_statistics", "statistics", 13, 1536, False, id="dictionaries that make themselves"),
    pytest.param("lookahead", "Lookahead.slow", 26, 1024, False, id="slow weights of an optimizer"),
    pytest.param("scheduled_uploads", "Uploads.timer", 14, 2048, False, id="what a scheduler is to do"),
    pytest.param("sorted_ranking", "Ranking.rows", 14, 2560, False, id="a list that bisect keeps sorted"),
    pytest.param("linked_trace", "Trace.newest", 19, 1536, False, id="a chain of nodes, each with the one before"),
    pytest.param("sent_values", "seen", 10, 1536, False, id="a generator that is sent values"),
    pytest.param("numbered_globals", "sample_*", 13, 2048, False, id="numbered globals"),
    pytest.param("made_module", "registry.samples", 23, 2560, False, id="a module that is made at run time"),
    pytest.param("smoothed_in_a_closure", "smoothed", 11, 8704, True, id="a smoothed loss in an enclosing function"),
    pytest.param("rollback_points", "Rollback.points", 14, 683, False, id="states of an optimizer, every third step"),
    pytest.param("unbounded_heap", "WorstSamples.heap", 26, 3072, False, id="a heap that is cut in a copy"),
]


@pytest.mark.parametrize(("program", "name", "line", "bytes_per_step", "keeps_graph"), KEEPS)
def test_the_holder_is_named_with_its_line_and_bytes(
    program: str, name: str, line: int, bytes_per_step: int, keeps_graph: bool
) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None and finding.location is not None
    assert report.growth.verdict == "leak"
    assert (finding.retainer.name, finding.location.line) == (name, line)
    assert (finding.retainer.bytes_per_step, finding.retainer.keeps_graph) == (bytes_per_step, keeps_graph)


LETS_GO = [
    "best_of_five", "bounded_queue", "buffered_log", "cached_property_samples", "episodes", "image_pool",
    "lru_of_eight", "notebook_numbers", "optimizer_per_fold", "replay_deque", "replay_slots", "running_statistics",
    "swapped_teachers", "trimmed_windows", "validation_epochs", "weak_cache",
    "accumulation", "averaged_model", "best_model", "curriculum", "cut_memory", "dataclass_deque", "epoch_clear",
    "host_predictions", "inner_loops", "key_value_cache", "last_error", "lbfgs", "masks_by_length", "new_heads",
    "ordered_lru", "ppo_rollouts", "prefetch_tasks", "removed_hooks", "ring_of_losses", "teacher_student",
    "unfrozen_groups", "unfrozen_in_steps", "warmup_statistics", "beam_search", "best_checkpoints", "diffusion",
    "flushed_by_another", "previous_batch", "reservoir", "truncated_state",
    "features_first", "two_generations", "slots_by_remainder", "trials_of_a_study",
]


@pytest.mark.parametrize("program", LETS_GO)
def test_a_program_that_lets_go_is_left_alone(program: str) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    assert report.growth.verdict in ("none", "plateau", "worst-batch")
    assert report.findings == ()


BOUNDED = [
    pytest.param("replay_deque", "memory fills, 1.0 KiB each", "10,000 elements, 9.8 MiB", id="the maxlen of a deque"),
    pytest.param("replay_slots", "Replay.slots fills, 2.0 KiB each", "200 elements, 400.0 KiB", id="slots made ahead"),
    pytest.param("trimmed_windows", "Smoother.outputs fills", "100 elements, 150.0 KiB", id="a while that pops"),
    pytest.param("trimmed_windows", "recent fills, 1.5 KiB", "WINDOW elements", id="a slice of the last ones"),
    pytest.param("image_pool", "ImagePool.images fills, 1.5 KiB each", "50 elements, 75.0 KiB", id="a pool_size"),
]


@pytest.mark.parametrize(("program", "rate", "limit"), BOUNDED)
def test_a_buffer_that_is_not_full_yet_is_named_with_what_it_will_hold(program: str, rate: str, limit: str) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    assert report.growth.verdict == "plateau"
    assert rate in report.growth.explanation
    assert limit in report.growth.explanation


TWO = [
    pytest.param(
        "two_at_once", {"Experiment.inputs": (23, 4096), "Experiment.records['weights']": (22, 1024)}, id="two places"
    ),
    pytest.param(
        "metric_states", {"RankCorrelation.preds": (33, 2560), "RankCorrelation.target": (34, 2560)}, id="two states"
    ),
]


@pytest.mark.parametrize(("program", "holders"), TWO)
def test_of_two_leaks_each_is_named(program: str, holders: dict[str, tuple[int, int]]) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    found = {
        each.retainer.name: (each.location.line, each.retainer.bytes_per_step)
        for each in report.findings if each.retainer is not None and each.location is not None
    }
    assert found == holders


UNEVEN = [
    pytest.param("class_banks", "Banks.banks[*]", 15, 2048, id="a queue for each of three classes"),
    pytest.param("improving_copies", "EarlyStopping.best_models", 20, 1707, id="copies in two of three steps"),
    pytest.param("slow_consumer", "Uploader.pending", 16, 512, id="a queue that is emptied half as fast as filled"),
    pytest.param("logged_exceptions", "logger", 32, 3072, id="tracebacks in a handler's buffer of a million"),
]


@pytest.mark.parametrize(("program", "name", "line", "bytes_per_step"), UNEVEN)
def test_where_steps_differ_the_average_is_told(program: str, name: str, line: int, bytes_per_step: int) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None and finding.location is not None
    assert (finding.retainer.name, finding.location.line) == (name, line)
    assert finding.retainer.bytes_per_step == pytest.approx(bytes_per_step, rel=0.05)


@pytest.mark.parametrize(("program", "name", "line"), [("average_meter_sum", "AverageMeter.sum", 17)])
def test_a_sum_that_keeps_only_nodes_is_named_with_no_bytes_of_the_device(program: str, name: str, line: int) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None and finding.location is not None
    assert report.growth.verdict == "host-leak"
    assert (finding.retainer.name, finding.location.line, finding.retainer.bytes_per_step) == (name, line, 0)


@pytest.mark.parametrize("card", ["a100-40gb", "none"])
@pytest.mark.parametrize(
    ("program", "name", "line", "bytes_per_step"),
    [
        pytest.param("by_hand", "residuals", 16, 1024, id="no module, no optimizer"),
        pytest.param("records_of_a_callback", "History.records", 19, None, id="a list in one of two callbacks"),
        pytest.param("one_long_validation", "outputs", 19, 7680, id="24 calls after six steps"),
        pytest.param("every_fourth", "gallery", 12, 640, id="every fourth step"),
    ],
)
def test_on_the_card_and_on_the_host(program: str, name: str, line: int, bytes_per_step: int | None, card: str) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card=card, output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None and finding.location is not None
    assert (finding.retainer.name, finding.location.line) == (name, line)
    assert bytes_per_step in (None, finding.retainer.bytes_per_step)


def test_threads_that_train_at_once_are_judged_by_what_variables_hold() -> None:
    """20 x 16 outputs, 1.5 KiB, once for each round of the two; where exactly a round ends is a race."""
    report = run(str(PROGRAMS / "training_threads.py"), [], module=False, card="a100-40gb", output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None and finding.location is not None
    assert finding.retainer.name in ("kept", "history")
    assert finding.retainer.bytes_per_step == pytest.approx(1536, rel=0.2)
    assert "autograd graphs" in [skipped.what for skipped in report.skipped]


def test_without_a_card_the_host_is_counted() -> None:
    """30 x 12 outputs of 5 numbers: 600 bytes, which the host does not round."""
    report = run(str(PROGRAMS / "epoch_lists.py"), [], module=False, card="none", output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None
    assert (finding.retainer.name, finding.retainer.bytes_per_step) == ("Log.epochs", 600)
