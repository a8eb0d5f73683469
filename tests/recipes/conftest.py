"""The battery's tests in the order of its recipes: each worker then compiles a recipe's functions once."""


def pytest_collection_modifyitems(items):
    places = [place for place, item in enumerate(items) if item.path.name == "test_battery.py"]
    battery = [items[place] for place in places]
    names = list(dict.fromkeys(item.callspec.id for item in battery))
    battery.sort(key=lambda item: names.index(item.callspec.id))
    for place, item in zip(places, battery, strict=True):
        items[place] = item
