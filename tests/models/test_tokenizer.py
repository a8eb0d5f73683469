import json
import string

import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, processors

from posttrain_jax.models import tokenizer, vocabulary

CHARACTERS = vocabulary.characters()
SPECIAL = ["<pad>", "<s>", "</s>", "<|start|>", "<|end|>"]
PAD, BOS, EOS, START, END = range(5)
CHATML = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
DIALOGUE = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]


def pretrained(*, bos=True, eos="</s>", pad=None, template=CHATML):
    """A tokenizer of single characters with the special tokens that chat models have."""
    vocab = {token: i for i, token in enumerate([*SPECIAL, *string.printable])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab))
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    if bos:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>" if bos else None,
        eos_token=eos,
        pad_token=pad,
        additional_special_tokens=["<|start|>", "<|end|>"],
    )
    fast.chat_template = template
    return fast


def spelled(text):
    return [len(SPECIAL) + string.printable.index(character) for character in text]


@given(st.text(alphabet=string.printable))
@settings(max_examples=60, deadline=None)
def test_every_printable_text_comes_back(text):
    ids = CHARACTERS.encode(text)
    assert len(ids) == len(text)
    assert CHARACTERS.decode(ids) == text


def test_text_that_looks_like_a_special_token_is_spelled_out():
    text = " a  <eos>\n<bos> .  "
    assert CHARACTERS.decode(CHARACTERS.encode(text)) == text
    assert CHARACTERS.eos_id not in CHARACTERS.encode(text)
    assert CHARACTERS.encode("a<eos>", parse_special=True) == [*CHARACTERS.encode("a"), CHARACTERS.eos_id]


def test_tokens_that_hold_a_text_are_named_as_often_as_they_hold_it():
    fast = pretrained()
    fast.add_tokens([" \n\n", "a\nb"])
    words = tokenizer.wrap(fast)
    single, twice, inside = (fast.convert_tokens_to_ids(x) for x in ("\n", " \n\n", "a\nb"))
    assert sorted(words.ending("\n")) == sorted([single, twice, twice, inside])


def test_character_tokenizer_as_a_folder(tmp_path):
    small = vocabulary.characters("ab c")
    assert (small.pad_id, small.bos_id, small.eos_id, small.stop_ids, small.vocab_size) == (0, 1, 2, (2,), 7)
    assert small.encode("cab ") == [6, 3, 4, 5]
    assert small.render_prompt("") == [1]
    assert small.render_completion("b") == [4, 2]
    assert small.decode([1, 4, 2, 0]) == "b"
    assert small.decode([1, 4, 2], keep_special=True) == "<bos>b<eos>"
    small.save(tmp_path)
    again = tokenizer.load(tmp_path)
    assert again.encode("cab ") == small.encode("cab ")
    assert (again.pad_id, again.bos_id, again.eos_id, again.stop_ids) == (0, 1, 2, (2,))
    assert again.decode(again.encode("a  b c")) == "a  b c"
    assert again.pretrained("ab")["input_ids"] == [1, 3, 4]
    with pytest.raises(ValueError, match=r"The characters \['d', 'é'\] are not in this tokenizer's alphabet"):
        again.encode("bédad")
    with pytest.raises(ValueError, match="This tokenizer has no chat template"):
        small.render_prompt(DIALOGUE)
    with pytest.raises(ValueError, match=r"holds \['a'\] more than once"):
        vocabulary.characters("aba")


def test_a_vocabulary_that_does_not_fit():
    CHARACTERS.check_vocabulary(103)
    with pytest.raises(ValueError, match="103 ids and the model 102"):
        CHARACTERS.check_vocabulary(102)


def test_a_teacher_with_another_tokenizer():
    CHARACTERS.check_same(CHARACTERS)
    with pytest.raises(ValueError, match=r"different tokenizers: [0-9]+ tokens, .* are not the same in both"):
        CHARACTERS.check_same(vocabulary.characters("abc"))
    with pytest.raises(ValueError, match="2 tokens, 'a' among them"):
        vocabulary.characters("ba").check_same(vocabulary.characters("ab"))


def test_without_eos_nothing_would_stop():
    with pytest.raises(ValueError, match="has no EOS token; set eos_token"):
        tokenizer.wrap(pretrained(eos=None))


def test_pad_may_be_missing_or_eos():
    assert tokenizer.wrap(pretrained(pad=None)).pad_id == EOS
    assert tokenizer.wrap(pretrained(pad="</s>")).pad_id == EOS
    assert tokenizer.wrap(pretrained(pad="<pad>")).pad_id == PAD
    # The completion still ends with EOS where EOS fills rows up too.
    assert tokenizer.wrap(pretrained(pad="</s>")).render_completion("a")[-1] == EOS


@pytest.mark.parametrize("stops", [END, [EOS, END, START]])
def test_stop_ids_of_a_folder(tmp_path, stops):
    pretrained(template=None).save_pretrained(tmp_path)
    assert tokenizer.load(tmp_path).stop_ids == (EOS,)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
    assert tokenizer.load(tmp_path).stop_ids == ((EOS, END) if stops == END else (EOS, END, START))
    pretrained(template=None, eos=None).save_pretrained(tmp_path)
    assert tokenizer.load(tmp_path).eos_id == (END if stops == END else EOS)


def test_the_end_of_turn_that_the_template_writes_stops():
    assert tokenizer.wrap(pretrained()).stop_ids == (EOS, END)
    plain = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    assert tokenizer.wrap(pretrained(template=plain)).stop_ids == (EOS,)
    refusing = "{{ raise_exception('only tools') }}"
    refused = tokenizer.wrap(pretrained(template=refusing))
    assert refused.stop_ids == (EOS,)
    with pytest.raises(ValueError, match="refuses a dialogue of user: only tools"):
        refused.render_example(DIALOGUE)


def test_folder_without_a_fast_tokenizer(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer\.json"):
        tokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_folder_whose_tokenizer_is_broken(tmp_path, name, content):
    vocabulary.characters("ab").save(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(
        ValueError, match=r"the tokenizer of .* cannot be read \(.*\): save or fetch tokenizer\.json and"
    ):
        tokenizer.load(tmp_path)


def test_stop_ids_that_are_none(tmp_path):
    vocabulary.characters("ab").save(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    with pytest.raises(ValueError, match=r"generation_config\.json says eos_token_id = \['</s>'\], which are no ids"):
        tokenizer.load(tmp_path)


def test_half_of_a_character_is_refused():
    with pytest.raises(ValueError, match=r"the text holds half of a character, '\\ud83d' at 1: mend or remove it"):
        vocabulary.byte_pairs(["a"], 259).encode("a\ud83d")


def test_chat_template_survives_the_folder(tmp_path):
    tokenizer.wrap(pretrained()).save(tmp_path)
    again = tokenizer.load(tmp_path)
    assert again.stop_ids == (EOS, END)
    assert again.chat(DIALOGUE, add_generation_prompt=True).endswith("2<|end|>\n<|start|>assistant\n")


@pytest.mark.parametrize("written", ["", "<s>", "<s><s>"])
def test_exactly_one_bos_whoever_writes_it(written):
    model = tokenizer.wrap(pretrained(template=written + CHATML))
    ids = model.render_prompt(DIALOGUE[:1])
    assert ids == [BOS, START, *spelled("user\n1+1?"), END, *spelled("\n"), START, *spelled("assistant\n")]
    prompt, completion = model.render_example(DIALOGUE)
    assert prompt == ids
    assert completion.count(BOS) == 0


def test_one_bos_for_plain_text_and_none_where_the_model_has_none():
    model = tokenizer.wrap(pretrained())
    assert model.render_prompt("a") == model.render_prompt("<s>a") == [BOS, *spelled("a")]
    none = tokenizer.wrap(pretrained(bos=False))
    assert none.bos_id is None
    assert none.render_prompt("a") == spelled("a")
    assert none.render_prompt(DIALOGUE[:1])[0] == START
    with pytest.raises(ValueError, match="The prompt is empty"):
        none.render_prompt("")


def test_an_example_is_its_prompt_and_what_the_assistant_says():
    model = tokenizer.wrap(pretrained())
    prompt, completion = model.render_example(DIALOGUE)
    assert prompt == model.render_prompt(DIALOGUE[:1])
    # The newline that the template writes behind the end of turn is never sampled, so it is not learnt.
    assert completion == [*spelled("2"), END]
    longer = [*DIALOGUE, {"role": "user", "content": "3?"}, {"role": "assistant", "content": "4 <|end|>"}]
    prompt, completion = model.render_example(longer)
    assert prompt == model.render_prompt(longer[:-1])
    assert completion[0] == spelled("4")[0]
    assert completion[-1] == END


def test_eos_is_added_where_the_template_writes_no_end():
    turns = "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }} {% endfor %}"
    open_ended = turns + "{% if add_generation_prompt %}assistant:{% endif %}"
    _, completion = tokenizer.wrap(pretrained(template=open_ended)).render_example(DIALOGUE)
    assert completion == [*spelled("2 "), EOS]


def test_a_template_that_rewrites_the_past_is_refused():
    rewriting = "{{ messages | length }}" + CHATML
    with pytest.raises(ValueError, match="renders the prompt differently once the answer follows"):
        tokenizer.wrap(pretrained(template=rewriting)).render_example(DIALOGUE)
    # A generation prompt with words that the finished dialogue lacks.
    thinking = CHATML.replace("<|start|>assistant\n{% endif %}", "<|start|>assistant\nHm: {% endif %}")
    with pytest.raises(ValueError, match="renders the prompt differently"):
        tokenizer.wrap(pretrained(template=thinking)).render_example(DIALOGUE)


def test_an_example_ends_with_the_assistant():
    model = tokenizer.wrap(pretrained())
    for messages in ([], DIALOGUE[:1]):
        with pytest.raises(ValueError, match="The last turn of an example must be the assistant's"):
            model.render_example(messages)
