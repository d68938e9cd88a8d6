"""The three parts of a submission: schedule, update rule, adapter to the API.

=====================  ===========================================================================
module                 part
=====================  ===========================================================================
``schedules``          learning-rate schedules, one formula for both frameworks
``settings``           hyperparameters (or the defaults of a self-tuning submission) as one value
``batch_sizes``        ``get_batch_size``
``update_rules_jax``   update rules as optax transformations
``update_rules_torch`` update rules as ``torch.optim`` optimizers
``lamb_torch``         LAMB, ``adafactor_torch`` Adafactor, on the frame ``optimizer_torch``
``shampoo_jax``        Distributed Shampoo, ``shampoo_torch`` its twin; ``shampoo_blocks`` cuts
``sharpness_torch``    the ascent step of sharpness-aware minimisation
``pass_through``       ``data_selection`` and ``prepare_for_eval``, which have nothing to do
``adapter_jax``        ``update_params``, and ``initializer``, which joins the parts, for JAX
``adapter_torch``      the same two for PyTorch
=====================  ===========================================================================

A ``submission_<framework>.py`` names its schedule and its update rule, and takes the rest
from here.
"""
