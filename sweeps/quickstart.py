"""The first sweep: four attacks and two controls on handwritten digits, over T' and seeds. Runs on a laptop."""

from ray import tune

from raypol import Design, Sweep, TrainConfig, find_attack, run_sweep

ARMS = {
    "II": find_attack("zhang2022_ii", retries=2),
    "III-loss": find_attack("iii_loss", retries=2),
    "III-invisible": "iii_invisible",
    "forged_momentum": "forged_momentum",
}

SWEEP = Sweep(
    name="quickstart",
    question="For which T' do spoofs of a small digits classifier pass, and do they beat ordinary batches?",
    paper=Design(
        train=TrainConfig(dataset="digits", model="resnet8", steps=1000, interval=10),
        arms=ARMS,
        space={
            "steps": tune.grid_search([20, 50, 100, 160, 250]),
            "seed": tune.grid_search([0, 1, 2]),
        },
    ),
    smoke=Design(
        train=TrainConfig(dataset="digits", model="resnet8", steps=400, interval=10),
        arms={"III-loss": ARMS["III-loss"], "forged_momentum": "forged_momentum"},
        space={
            "steps": tune.grid_search([20, 50]),
            "seed": tune.grid_search([0, 1]),
        },
    ),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
