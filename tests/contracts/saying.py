"""What was said then is said still."""


def says(now: object, then: object) -> bool:
    """Whether `now` has everything that `then` has, in the same place and of the same value."""
    match now, then:
        case dict(), dict():
            return all(name in now and says(now[name], value) for name, value in then.items())
        case list(), list():
            return len(now) == len(then) and all(map(says, now, then))
        case _:
            return type(now) is type(then) and now == then
