"""What each metric of a run's log measures, in a sentence with its unit and which way is better. Values only."""

NO_METRICS = ("step", "seconds", "eta_seconds", "processes")  # of a row of the log
LOSS = "What this step lowers; lower is better, within one run"
DESCRIPTIONS = {
    # the loop, for every method
    "loss": LOSS,
    "gradient_norm": "Length of the gradient before it is clipped; 0: nothing is learnt, very large: unstable",
    "learning_rate": "Size of the optimizer's steps, which the schedule changes",
    "tokens_per_second": "Tokens learnt from in a second",
    "shared": "Share of the tokens that are computed once for several sequences",
    "padding": "Share of the computed positions that hold no token",
    "evaluated_mean": "Mean share right on fixed prompts that are not trained on; higher is better",
    "distill_kl": "KL divergence from the first checkpoint on its own rollouts, nats a token: what is forgotten",
    # fine-tuning: cross-entropies by kind of token
    "codes": "Cross-entropy of the image codes, nats a code; lower is better",
    "text": "Cross-entropy of reasons, plans and edits, nats a token; lower is better",
    "verdict": "Cross-entropy of the verdicts yes or no, nats; 0.69 is guessing, lower is better",
    "notes": "Cross-entropy of what the network notes beside an image that it sees, nats a token; lower is better",
    "hand_notes": "Cross-entropy of what the network notes beside an image that it draws, nats; lower is better",
    "verdicts_right": "Share of the verdicts that the network holds likelier than their opposite; higher is better",
    # preferences and rewards
    "accuracy": "Share of the pairs in which the preferred one is favoured; 0.5 is guessing, higher is better",
    "margin": "By how much the preferred one is favoured, in units of reward; higher is better",
    "chosen_log_prob": "Log-probability of what is preferred, nats; higher: likelier",
    "rejected_log_prob": "Log-probability of what is not preferred, nats; lower: less likely",
    "chosen_error": "Denoising error of the preferred images; lower is better",
    "rejected_error": "Denoising error of the images that are not preferred",
    "divergence": "KL divergence of policy and reference, an estimate in nats; how far the policy has moved",
    "desirable_reward": "Mean reward of the reflections held right; higher is better",
    "undesirable_reward": "Mean reward of the reflections held wrong; lower is better",
    "score_error": "Mean difference between predicted and given scores, 0 to 1; lower is better",
    "held_out_accuracy": "The same as accuracy, on pairs that are not trained on; higher is better",
    "held_out_score_error": "The same as score error, on scores that are not trained on; lower is better",
    # reinforcement learning
    "kl": "KL divergence from the reference, nats a token: how far the policy has moved",
    "entropy": "How undecided the policy is, nats a token; near 0 it always does the same",
    "clip_fraction": "Share of the tokens whose ratio of new and old policy is clipped, and which teach nothing",
    "rollout_difference": "Difference of log-probabilities at rollout and in training, nats; should be next to 0",
    "r_gen": "Reward for drawing: how far the images of a rollout fit their prompts; higher is better",
    "r_comp": "Reward for judging: how many verdicts of a rollout are right; higher is better",
    "first_right": "Share of the first drafts that fit their prompts; higher is better",
    "final_right": "Share of the last images that fit their prompts; higher is better",
    "verdict_right": "Share of the verdicts that are right; higher is better",
    "images": "Images a rollout; fewer where the model is content earlier",
    "begun": "Rollouts that began at a wrong image",
    "repaired": "Rollouts that began at a wrong image and ended at a right one; higher is better",
    "skipped": "Groups whose rewards are all equal, from which nothing is learnt",
    "resampled": "Groups drawn again because their rewards were all equal",
    "watch_reward": "Mean of a reward that is not trained on; should rise with the trained one",
    "watch_rise": "How much more the trained reward has risen than the one that is only watched, standard deviations",
    "watch_disagreements": "Rollouts that the trained reward ranks high and the watched one low",
    "watch_alarm": "1 where the trained reward seems to be exploited, else 0",
}
REHEARSED, REWARD, SPREAD = "rehearsed_", "reward_", "_spread"  # prefixes and ending of names made of others


def metric_description(metric: str) -> str | None:
    """What a metric measures; None for one that is not of a method here."""
    if metric in DESCRIPTIONS:
        return DESCRIPTIONS[metric]
    if metric.startswith(REHEARSED) and (rehearsed := DESCRIPTIONS.get(metric.removeprefix(REHEARSED))):
        return f"On sequences mixed in against forgetting: {rehearsed[0].lower()}{rehearsed[1:]}"
    if metric.startswith(REWARD):
        name = metric.removeprefix(REWARD).removesuffix(SPREAD).replace("_", " ")
        if metric.endswith(SPREAD):
            return f"Standard deviation of the reward “{name}” within the rollouts of a prompt; 0: nothing is learnt"
        return f"Mean of the reward “{name}” over last images; higher is better"
    return None
