// Fork and join over tiles. Which thread takes which tile is left open: every tile writes memory
// of its own and sums are added up in tile order, so results do not depend on it. An exception of any
// thread is thrown again by the caller's, when all have stopped.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace {

class ThreadPool {
 public:
  explicit ThreadPool(int threads) : threads_(threads) {}
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  ~ThreadPool() {
    if (!crew_) return;
    if (crew_->process != process()) { // a fork: the threads are not in this process
      crew_.release();
      return;
    }
    {
      std::lock_guard<std::mutex> guard(crew_->mutex);
      crew_->stopping = true;
    }
    crew_->wake.notify_all();
    for (std::thread& worker : crew_->workers) worker.join();
  }

  int threads() const { return threads_; }

  // Calls work(item, thread) for every item; the caller is thread 0. Returns when all are done.
  template <class Work>
  void for_each(int items, const Work& work) {
    if (threads_ == 1 || items < 2) {
      for (int item = 0; item < items; ++item) work(item, 0);
      return;
    }
    start();
    Crew& crew = *crew_;
    {
      std::lock_guard<std::mutex> guard(crew.mutex);
      crew.call = [](const void* context, int item, int thread) {
        (*static_cast<const Work*>(context))(item, thread);
      };
      crew.context = &work;
      crew.items = items;
      crew.next = 0;
      crew.busy = int(crew.workers.size());
      ++crew.round;
    }
    crew.wake.notify_all();
    crew.take_items(0);
    std::unique_lock<std::mutex> lock(crew.mutex);
    crew.done.wait(lock, [&] { return crew.busy == 0; });
    crew.context = nullptr;
    if (std::exception_ptr error = std::exchange(crew.error, nullptr)) std::rethrow_exception(error);
  }

 private:
  struct Crew {
    std::mutex mutex;
    std::condition_variable wake, done;
    void (*call)(const void*, int, int) = nullptr;
    const void* context = nullptr;
    int items = 0, busy = 0;
    long round = 0, process = 0;
    bool stopping = false;
    std::atomic<int> next{0};
    std::exception_ptr error; // the first of this round
    std::vector<std::thread> workers;

    void take_items(int thread) {
      try {
        for (int item = next.fetch_add(1); item < items; item = next.fetch_add(1))
          call(context, item, thread);
      } catch (...) { // no thread but the caller's may let it go further
        std::lock_guard<std::mutex> guard(mutex);
        if (!error) error = std::current_exception();
        next = items; // nobody begins another
      }
    }

    void work(int thread) {
      std::unique_lock<std::mutex> lock(mutex);
      for (long seen = 0;;) {
        wake.wait(lock, [&] { return stopping || round != seen; });
        if (stopping) return;
        seen = round;
        lock.unlock();
        take_items(thread);
        lock.lock();
        if (--busy == 0) done.notify_one();
      }
    }
  };

  static long process() {
#if defined(__unix__) || defined(__APPLE__)
    return long(getpid());
#else
    return 0;
#endif
  }

  void start() {
    if (crew_ && crew_->process == process()) return;
    crew_.release(); // after a fork the old crew's threads and locks mean nothing here
    crew_.reset(new Crew);
    crew_->process = process();
    try {
      for (int thread = 1; thread < threads_; ++thread)
        crew_->workers.emplace_back([crew = crew_.get(), thread] { crew->work(thread); });
    } catch (const std::system_error&) { // the system gives no more threads: work with those we have
    }
  }

  const int threads_;
  std::unique_ptr<Crew> crew_;
};

} // namespace
