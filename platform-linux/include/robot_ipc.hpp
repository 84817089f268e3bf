// Host variables and host functions for C++17 and newer. See robot_ipc.h for what they
// are and what can go wrong.
//
//     RobotIPC::HostVariable<Pose> pose("pose");
//     if (pose.write(here) != ROBOT_OK)
//         std::cerr << ripc_last_error() << '\n';
//
// Values lie in shared memory as they lie in memory, so what is shared has to be a plain
// type, which is checked when the program is compiled: standard layout, trivially copyable
// and destructible, and no pointer (inside a struct nobody can see one: it would be of no
// use to another process). All sides have to agree on its layout.
//
// Constructors throw std::runtime_error with the library's text. Other functions return
// what those of C do: 0, or not; errno and ripc_last_error() say why. A destructor lets go
// of the handle. Objects can be moved, not copied; one that was moved from can only be
// destroyed or assigned to, and its functions return an error.
#ifndef ROBOT_IPC_HPP
#define ROBOT_IPC_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#if __cplusplus >= 202002L
#include <version>
#endif

#include "robot_ipc.h"

namespace RobotIPC {

// ------------------------------------------------------------------ what can be shared

// Whether values of T may lie in shared memory.
template <typename T>
inline constexpr bool is_ipc_safe_v =
    std::is_standard_layout_v<T> && std::is_trivially_copyable_v<T> &&
    std::is_trivially_destructible_v<T> && !std::is_pointer_v<std::remove_all_extents_t<T>> &&
    !std::is_member_pointer_v<std::remove_all_extents_t<T>>;

// How T lies in memory.
template <typename T>
struct MemoryLayoutInfo {
    // Whether its values may be shared.
    static constexpr bool is_safe = is_ipc_safe_v<T>;
    // Bytes of a value.
    static constexpr std::size_t size = sizeof(T);
    // Its address is a multiple of this, in bytes.
    static constexpr std::size_t alignment = alignof(T);
    // Whether equal values have equal bytes: no gaps, no floating point.
    static constexpr bool has_unique_repr =
        std::has_unique_object_representations_v<std::remove_all_extents_t<T>>;
};

// Fails to compile, with a message that says why, if values of T may not be shared.
template <typename T>
constexpr bool validate_memory_layout()
{
    static_assert(!std::is_pointer_v<std::remove_all_extents_t<T>> &&
                      !std::is_member_pointer_v<std::remove_all_extents_t<T>>,
                  "RobotIPC: a pointer means nothing in another process: share what it "
                  "points to");
    static_assert(std::is_standard_layout_v<T>,
                  "RobotIPC: the type has to have standard layout: no virtual functions, and "
                  "all its data in one class with one access control");
    static_assert(std::is_trivially_copyable_v<T>,
                  "RobotIPC: the type has to be trivially copyable: it is copied byte by "
                  "byte, so std::string, std::vector and the like cannot be in it");
    static_assert(std::is_trivially_destructible_v<T>,
                  "RobotIPC: the type has to be trivially destructible: nobody destroys what "
                  "lies in shared memory");
    return is_ipc_safe_v<T>;
}

#if defined(__cpp_concepts) && __cpp_concepts >= 201907L
// Types whose values may lie in shared memory.
template <typename T>
concept MemoryLayoutCompatible = is_ipc_safe_v<T>;

// The same, for parameters of templates: of anything else, deduction fails.
template <typename T>
concept IPCSafeType = std::is_object_v<T> && MemoryLayoutCompatible<T>;
#endif

namespace detail {

[[noreturn]] inline void fail(const std::string &what)
{
    throw std::runtime_error(what + ": " + ripc_last_error());
}

// A handle with an owner; C's functions refuse a null one.
template <typename Handle>
class Owned {
public:
    explicit Owned(Handle handle) noexcept : handle(handle) {}
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    Owned(Owned &&other) noexcept : handle(std::exchange(other.handle, nullptr)) {}
    Owned &operator=(Owned &&other) noexcept
    {
        if (this != &other) {
            let_go();
            handle = std::exchange(other.handle, nullptr);
        }
        return *this;
    }
    ~Owned() { let_go(); }

    Handle get() const noexcept { return handle; }

private:
    static void close(host_variable it) noexcept { unlink_host_variable(it, nullptr, 0); }
    static void close(host_function_caller it) noexcept { unlink_host_function(it); }
    static void close(host_function_dispatcher it) noexcept
    {
        delete_host_function_dispatcher(it);
    }
    void let_go() noexcept
    {
        if (handle != nullptr)
            close(handle);
    }

    Handle handle;
};

// A C++ function for C: `function` is what it was attached with.
template <typename R, typename T>
void *call(const void *args, void *function) noexcept
{
    auto typed = reinterpret_cast<R *(*)(T *)>(function);
    // The dispatcher's own copy, aligned for any type.
    auto result = typed(static_cast<T *>(const_cast<void *>(args)));
    return const_cast<std::remove_cv_t<R> *>(result);
}

} // namespace detail

// ----------------------------------------------------------------------- host variables

// A named latest value of type T.
template <typename T>
class HostVariable {
    static_assert(validate_memory_layout<T>(), "RobotIPC: T cannot be shared");

public:
    // Opens the variable, or creates it.
    explicit HostVariable(const std::string &name)
        : handle(link_host_variable(name.c_str(), sizeof(T)))
    {
        if (handle.get() == nullptr)
            detail::fail("cannot link host variable '" + name + "'");
    }

    // Makes `value` the latest one.
    int write(const T &value)
    {
        return write_host_variable(handle.get(), std::addressof(value), sizeof(T), sizeof(T));
    }

    // Reads the latest value; zero bytes if nobody has written.
    int read(T &value)
    {
        return read_host_variable(handle.get(), std::addressof(value), sizeof(T), sizeof(T));
    }

private:
    detail::Owned<host_variable> handle;
};

// ----------------------------------------------------------------------- host functions

// A function to be called, such as HostFunctionCaller<Result(Arguments)>.
template <typename Function>
class HostFunctionCaller;

template <typename R, typename T>
class HostFunctionCaller<R(T)> {
    static_assert(validate_memory_layout<T>(), "RobotIPC: the arguments cannot be shared");
    static_assert(validate_memory_layout<R>(), "RobotIPC: the result cannot be shared");

public:
    // Opens the function; nobody has to serve it yet.
    explicit HostFunctionCaller(const std::string &name)
        : handle(link_host_function(name.c_str(), sizeof(T), sizeof(R)))
    {
        if (handle.get() == nullptr)
            detail::fail("cannot link host function '" + name + "'");
    }

    // Calls the function, and does not wait for it.
    int operator()(const T &argument)
    {
        return call_host_function(handle.get(), std::addressof(argument));
    }

    // Waits for the response of the oldest call that may still bring one; not 0 if none
    // can.
    int get_response(R &result)
    {
        return get_response_host_function(handle.get(), std::addressof(result));
    }

private:
    detail::Owned<host_function_caller> handle;
};

// Serves functions, one call at a time, in a thread of the library's.
class HostFunctionDispatcher {
public:
    // For up to `num_func` functions, 1 to 512.
    explicit HostFunctionDispatcher(std::size_t num_func = 16)
        : handle(create_host_function_dispatcher(num_func))
    {
        if (handle.get() == nullptr)
            detail::fail("cannot create a host function dispatcher");
    }

    // Serves the function `name`; also after the start. What it returns has to stay until
    // the dispatcher calls a function again, such as a static object; null: no response.
    // An exception that leaves it ends the program.
    template <typename R, typename T>
    int attach(const std::string &name, R *(*function)(T *))
    {
        static_assert(validate_memory_layout<T>(), "RobotIPC: the arguments cannot be shared");
        static_assert(validate_memory_layout<R>(), "RobotIPC: the result cannot be shared");
        static_assert(alignof(T) <= 64, "RobotIPC: arguments are aligned to 64 bytes");
        if (function == nullptr)
            return attach_host_function_ex(handle.get(), name.c_str(), nullptr, nullptr,
                                           sizeof(T), sizeof(R));
        return attach_host_function_ex(handle.get(), name.c_str(), &detail::call<R, T>,
                                       reinterpret_cast<void *>(function), sizeof(T),
                                       sizeof(R));
    }

    // Serves from now on, until this object is destroyed.
    int start() { return start_host_function_dispatcher(handle.get()); }

private:
    detail::Owned<host_function_dispatcher> handle;
};

} // namespace RobotIPC

#endif // ROBOT_IPC_HPP
