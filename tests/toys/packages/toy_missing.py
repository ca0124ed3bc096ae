"""A backend whose framework is not installed. It says which one that is, and imports it in its verbs only."""

INTERFACE = 2
FRAMEWORK = {"a_framework_that_nobody_has": "a-framework-that-nobody-has"}
ENVIRONMENT: dict[str, str] = {}


def __getattr__(name):
    import a_framework_that_nobody_has

    return getattr(a_framework_that_nobody_has, name)
