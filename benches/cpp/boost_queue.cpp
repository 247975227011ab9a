// Messages through boost's message_queue: `boost_queue BYTES PROCESSES_EACH_SIDE MESSAGES_EACH` prints seconds.

#include <algorithm>
#include <atomic>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using boost::interprocess::message_queue;

struct Shared {
    std::atomic<int> arrived{0};
    std::atomic<long long> begin{0}, end{0};
};

static long long now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

int main(int, char **args) {
    const size_t len = std::strtoul(args[1], nullptr, 10);
    const int n_each_side = std::atoi(args[2]);
    const long n = std::atol(args[3]);
    const std::string name = "bench-" + std::to_string(getpid());
    message_queue::remove(name.c_str());
    message_queue queue(boost::interprocess::create_only, name.c_str(), len > 65536 ? 8 : 1024, len);
    message_queue::remove(name.c_str());
    void *memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    auto *shared = new (memory) Shared;
    for (int who = 0; who < 2 * n_each_side; who++) {
        if (fork() != 0) continue;
        std::vector<char> buffer(len, 1);
        shared->arrived++;
        while (shared->arrived < 2 * n_each_side) usleep(0);
        long long first = 0;
        shared->begin.compare_exchange_strong(first, now());
        for (long i = 0; i < n; i++) {
            if (who % 2 == 0) {
                queue.send(buffer.data(), len, 0);
            } else {
                message_queue::size_type received;
                unsigned priority;
                queue.receive(buffer.data(), len, received, priority);
            }
        }
        long long end = now(), last = shared->end;
        while (last < end && !shared->end.compare_exchange_weak(last, end)) {}
        _exit(0);
    }
    while (wait(nullptr) > 0) {}
    std::printf("%.9f\n", (shared->end - shared->begin) / 1e9);
}
