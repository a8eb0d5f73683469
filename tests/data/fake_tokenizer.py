"""A tokenizer of one id per character: 0 pads, 1 begins, 2 ends."""


class Characters:
    eos_id = 2

    def __init__(self, bos_id=1):
        self.bos_id = bos_id

    def encode(self, text):
        return [ord(character) for character in text]

    def decode(self, ids):
        return "".join(chr(token) for token in ids if token > 2)

    def render_prompt(self, prompt):
        if not isinstance(prompt, str):
            prompt = "".join(f"[{message['role']}]{message['content']}" for message in prompt) + "[assistant]"
        return ([] if self.bos_id is None else [self.bos_id]) + self.encode(prompt)

    def render_completion(self, text):
        return [*self.encode(text), self.eos_id]

    def render_example(self, messages):
        return self.render_prompt(messages[:-1]), self.render_completion(messages[-1]["content"])
