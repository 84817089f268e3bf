// One side of each pair in tests/pairs.rs, in C++.
#include <robot_ipc.hpp>

#include <cstdio>
#include <string>

#include "reading.h"

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            std::fprintf(stderr, "C++: not so: %s (%s)\n", #condition, ripc_last_error());   \
            return 1;                                                                        \
        }                                                                                    \
    } while (0)

static reading answer;

static reading *next(reading *asked)
{
    if (!is_reading(asked, LARGE))
        return nullptr;
    answer = reading_of(asked->count + 1);
    return &answer;
}

int main(int count, char **arguments)
{
    CHECK(count == 3);
    const std::string role = arguments[1], name = arguments[2];
    reading it = reading_of(LARGE);
    if (role == "write") {
        RobotIPC::HostVariable<reading> variable(name);
        CHECK(variable.write(it) == 0);
    } else if (role == "read") {
        RobotIPC::HostVariable<reading> variable(name);
        std::memset(&it, 0xAA, sizeof it);
        CHECK(variable.read(it) == 0);
        CHECK(is_reading(&it, LARGE));
    } else if (role == "serve") {
        RobotIPC::HostFunctionDispatcher dispatcher(1);
        CHECK(dispatcher.attach(name, &next) == 0);
        CHECK(dispatcher.start() == 0);
        std::puts("ready");
        std::fflush(stdout);
        while (std::getchar() != EOF) {
        }
    } else {
        RobotIPC::HostFunctionCaller<reading(reading)> caller(name);
        CHECK(caller(it) == 0);
        std::memset(&it, 0xAA, sizeof it);
        CHECK(caller.get_response(it) == 0);
        CHECK(is_reading(&it, LARGE + 1));
    }
    return 0;
}
