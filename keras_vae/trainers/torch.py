"""Steps on PyTorch."""

import torch


class Trainer:
    """The steps that Keras' `fit`, `evaluate` and `predict` call, on PyTorch."""

    def train_step(self, data):
        """Draw, differentiate, and update unless a gradient is not finite."""
        buffers = [v.value.clone() for v in self.buffers]
        loss, terms = self.loss_and_terms(data, training=True)
        self.zero_grad()
        self.optimizer.scale_loss(loss).backward()
        pairs = [(v.value.grad, v) for v in self.trainable_variables if v.value.grad is not None]
        gradients, variables = zip(*pairs, strict=True)
        with torch.no_grad():
            norm, finite = self.gradient_norm(gradients)
            if finite or self.optimizer_skips_updates:
                self.optimizer.apply(gradients, variables)
            if not finite:
                for variable, value in zip(self.buffers, buffers, strict=True):
                    variable.assign(value)
            return self.track(data, loss.detach(), terms, norm, finite)

    def test_step(self, data):
        """Draw and measure."""
        loss, terms = self.loss_and_terms(data, training=False)
        return self.track(data, loss, terms)

    def predict_step(self, data):
        """Reconstruct from the posterior mean."""
        return self.reconstruction(data)


def devices():
    """Return the names of the devices that the backend sees."""
    gpus = range(torch.cuda.device_count())
    return ["cpu", *(torch.cuda.get_device_name(gpu) for gpu in gpus)]
