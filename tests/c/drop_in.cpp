// A C++ program of the earlier library, as its interface says it may be written.
#include <robot_ipc.hpp>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            int at = errno;                                                                  \
            std::fprintf(stderr, "%s:%d: not so: %s (errno %d, last error: %s)\n", __FILE__, \
                         __LINE__, #condition, at, ripc_last_error());                       \
            std::exit(1);                                                                    \
        }                                                                                    \
    } while (0)

namespace {

struct Pose {
    double x, y;
    std::int32_t valid;
};

struct Two {
    int a, b;
};

// Aligned as much as arguments can be, and without a default constructor.
struct alignas(64) Aligned {
    explicit Aligned(char value) : bytes{value} {}
    char bytes[64];
};

enum class Mode : unsigned char { idle, busy };

union Either {
    int number;
    float fraction;
};

// --------------------------------------------------------------- when it is compiled

template <typename T>
constexpr bool can_be_moved_only =
    std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
    !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;

static_assert(can_be_moved_only<RobotIPC::HostVariable<Pose>>);
static_assert(can_be_moved_only<RobotIPC::HostFunctionCaller<int(Two)>>);
static_assert(can_be_moved_only<RobotIPC::HostFunctionDispatcher>);
static_assert(!std::is_convertible_v<std::string, RobotIPC::HostVariable<Pose>>);
static_assert(std::is_default_constructible_v<RobotIPC::HostFunctionDispatcher>);

struct WithVirtual {
    virtual ~WithVirtual() = default;
};

struct WithDestructor {
    int value;
    ~WithDestructor() {}
};

struct WithAccess {
    int first;
    int get() const { return second; }

private:
    int second;
};

struct WithGap {
    char letter;
    int number;
};

template <typename T>
constexpr bool is_safe = RobotIPC::is_ipc_safe_v<T> && RobotIPC::MemoryLayoutInfo<T>::is_safe;

static_assert(is_safe<int> && is_safe<double> && is_safe<bool> && is_safe<Mode>);
static_assert(is_safe<Pose> && is_safe<Aligned> && is_safe<Either> && is_safe<int[3]>);
static_assert(is_safe<std::array<Pose, 4>> && is_safe<const Pose>);
static_assert(!is_safe<int *> && !is_safe<const void *> && !is_safe<int *[3]>);
static_assert(!is_safe<int Two::*> && !is_safe<void (*)()>);
static_assert(!is_safe<std::string> && !is_safe<WithVirtual> && !is_safe<WithDestructor>);
static_assert(!is_safe<WithAccess> && !is_safe<std::unique_ptr<int>>);
static_assert(!RobotIPC::is_ipc_safe_v<int &> && !RobotIPC::is_ipc_safe_v<void()>);

static_assert(RobotIPC::MemoryLayoutInfo<Pose>::size == sizeof(Pose));
static_assert(RobotIPC::MemoryLayoutInfo<Pose>::alignment == alignof(Pose));
static_assert(RobotIPC::MemoryLayoutInfo<Two>::has_unique_repr);
static_assert(!RobotIPC::MemoryLayoutInfo<WithGap>::has_unique_repr);
static_assert(RobotIPC::validate_memory_layout<Pose>());

#if __cplusplus >= 202002L
static_assert(RobotIPC::MemoryLayoutCompatible<Pose> && RobotIPC::IPCSafeType<Pose>);
static_assert(!RobotIPC::MemoryLayoutCompatible<std::string> && !RobotIPC::IPCSafeType<int *>);
#endif

// -------------------------------------------------------------------- when it is run

void variables()
{
    RobotIPC::HostVariable<Pose> pose("/cpp pose"), same("cpp pose");
    Pose here{1, 2, 3};
    CHECK(pose.read(here) == ROBOT_OK && here.x == 0 && here.y == 0 && here.valid == 0);
    CHECK(pose.write({1.5, -2, 1}) == ROBOT_OK);
    CHECK(same.read(here) == ROBOT_OK && here.x == 1.5 && here.y == -2 && here.valid == 1);

    // Its handle moves with it, and is let go of once.
    RobotIPC::HostVariable<Pose> moved(std::move(pose));
    CHECK(moved.write({2.5, 0, 1}) == ROBOT_OK);
    errno = 0;
    CHECK(pose.read(here) != ROBOT_OK && errno == EBADF);
    pose = std::move(moved);
    CHECK(pose.read(here) == ROBOT_OK && here.x == 2.5);
    auto &itself = pose;
    pose = std::move(itself);
    CHECK(pose.read(here) == ROBOT_OK);

    RobotIPC::HostVariable<int[3]> array("cpp array");
    int numbers[3] = {1, 2, 3};
    CHECK(array.write(numbers) == ROBOT_OK && array.read(numbers) == ROBOT_OK);
    CHECK(numbers[2] == 3);
}

template <typename Make>
void throws(Make make, const char *text)
{
    try {
        make();
    } catch (const std::runtime_error &error) {
        CHECK(std::string(error.what()).find(text) != std::string::npos);
        return;
    }
    CHECK(!"it throws");
}

int *add(Two *two)
{
    static int sum;
    sum = two->a + two->b;
    two->a = two->b = 0; // they are its own
    return sum < 0 ? nullptr : &sum;
}

const Aligned *last(const Aligned *aligned) noexcept
{
    CHECK(reinterpret_cast<std::uintptr_t>(aligned) % 64 == 0);
    static Aligned result('0');
    result = *aligned;
    return &result;
}

void functions()
{
    RobotIPC::HostFunctionDispatcher dispatcher;
    CHECK(dispatcher.attach("/cpp add", add) == ROBOT_OK);
    CHECK(dispatcher.start() == ROBOT_OK);
    CHECK(dispatcher.attach("cpp last", last) == ROBOT_OK);
    errno = 0;
    CHECK(dispatcher.attach("cpp add", add) != ROBOT_OK && errno == EEXIST);
    CHECK(dispatcher.attach("cpp none", static_cast<int *(*)(Two *)>(nullptr)) != ROBOT_OK);
    CHECK(errno == EINVAL);

    RobotIPC::HostFunctionCaller<int(Two)> caller("cpp add");
    int sum = -1;
    CHECK(caller({1, 2}) == ROBOT_OK && caller({-5, 1}) == ROBOT_OK);
    CHECK(caller.get_response(sum) == ROBOT_OK && sum == 3);
    CHECK(caller.get_response(sum) != ROBOT_OK);

    RobotIPC::HostFunctionCaller<Aligned(Aligned)> aligned("cpp last");
    Aligned letter('x');
    CHECK(aligned(letter) == ROBOT_OK);
    letter.bytes[0] = 'y';
    CHECK(aligned.get_response(letter) == ROBOT_OK && letter.bytes[0] == 'x');

    // It serves on where it moves to, and ends there.
    {
        RobotIPC::HostFunctionDispatcher moved(std::move(dispatcher));
        CHECK(caller({20, 3}) == ROBOT_OK);
        CHECK(caller.get_response(sum) == ROBOT_OK && sum == 23);
        CHECK(dispatcher.start() != ROBOT_OK);
    }
    CHECK(caller({20, 3}) == ROBOT_OK);
    RobotIPC::HostFunctionDispatcher next(1);
    CHECK(next.attach("cpp add", add) == ROBOT_OK && next.start() == ROBOT_OK);
    CHECK(caller.get_response(sum) == ROBOT_OK && sum == 23);
}

} // namespace

int main()
{
    variables();
    functions();
    throws([] { RobotIPC::HostVariable<int> variable("a/b"); }, "a/b");
    throws([] { RobotIPC::HostVariable<char> other("cpp pose"); }, "cpp pose");
    throws([] { RobotIPC::HostFunctionCaller<int(int)> caller(""); }, "name");
    throws([] { RobotIPC::HostFunctionDispatcher dispatcher(0); }, "512");
    std::puts("done");
    return 0;
}
