// blocks_boost.cc - boost.interprocess's allocator of any size: managed_shared_memory, allocate and deallocate.
#include <boost/interprocess/managed_shared_memory.hpp>

#include <cerrno>
#include <memory>
#include <new>

#include "blocks.h"

namespace
{
namespace ipc = boost::interprocess;

std::unique_ptr<ipc::managed_shared_memory> memory;
char name[64];

int boost_begin(size_t bytes)
{
    blocks_name(name, sizeof name, "boost");
    ipc::shared_memory_object::remove(name);
    try {
        memory = std::make_unique<ipc::managed_shared_memory>(ipc::create_only, name, (bytes + 64) * 4096 + 65536);
    } catch (const ipc::interprocess_exception &) {
        return -ENOMEM;
    }
    return 0;
}

int boost_run(size_t bytes, unsigned held, uint64_t times)
{
    void *blocks[64];
    for (; times; times--) {
        for (unsigned i = 0; i < held; i++) {
            blocks[i] = memory->allocate(bytes, std::nothrow);
            if (!blocks[i])
                return -ENOSPC;
            *static_cast<volatile uint64_t *>(blocks[i]) = times;
        }
        for (unsigned i = 0; i < held; i++)
            memory->deallocate(blocks[i]);
    }
    return 0;
}

void boost_end(void)
{
    memory.reset();
    ipc::shared_memory_object::remove(name);
}
} // namespace

extern "C" const pairs_contestant pairs_boost = { "boost.interprocess", "managed_shared_memory, allocate and deallocate",
                                                  boost_begin, boost_run, boost_end };
