"""One run by several processes: N of them compute what one would. The contract, without any framework.

- **The batch is the recipe's**, whatever the number of processes. Each prepares its rows (`shards`) of the very batch
  that one process would make, a pure function of the seed and the step: so are crops, mixing, and the factors of
  dropouts and drop paths, which depend neither on the number of processes nor on the rank.
- **The loss** is the sum over the rows of all processes, divided by the rows of the whole batch; so where shards are
  unequal too. It is not a mean of the processes' means.
- **Norms with batch statistics** normalize by the mean and the variance of the whole batch, and their running variance
  learns the unbiased one of the whole batch. Other norms see one image, or constants, and need nobody else. Where a
  recipe has norms take groups of the batch by themselves (`statistics_batch`), each process has whole groups, and as
  many as the others: its norms ask nobody, and only the running statistics are put together, in the order of the ranks.
- **Gradients** are summed over the processes before they are clipped and before the optimizer sees them, so that
  parameters and slots stay equal in all processes.
- **Filling up**: where a framework needs shards of equal length, and where a shard would be empty, rows fill it up that
  are not the batch's: a mask leaves them out of the loss, of what is counted, and of every norm's statistics.

So one step of N processes equals the step of one but for rounding. `threads` proves it without a network: N threads of
one process, each with the NumPy reference.

A backend offers it with a file `parallel.py`: `ParallelTrainer` (`resnet_core.training.parallel.contract`), and `join`,
which meets the other processes as its framework does.
"""
