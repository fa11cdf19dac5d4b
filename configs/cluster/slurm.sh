#!/bin/bash
# Train with aeframe on one or more nodes of a Slurm cluster, with one task for each GPU:
#
#     sbatch slurm.sh model=vae data=image_npz data.path=/data/mnist.npz
#
# The run continues when Slurm requeues the job, and after a time limit: SIGUSR1 comes two minutes before it, and the run
# writes a checkpoint and puts its job into the queue again.
#SBATCH --job-name=aeframe
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out

# All tasks end when one fails, instead of waiting for it.
srun --kill-on-bad-exit=1 aeframe-train "$@"
