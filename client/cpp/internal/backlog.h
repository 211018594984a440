#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_BACKLOG_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_BACKLOG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "client/cpp/internal/batching.h"
#include "client/cpp/internal/known_ids.h"

namespace ptychoserve::client::internal {

// What a writer still answers for, in one queue: first the items that were sent and may have to be
// sent again, in the order of their messages, then those that wait. Not thread-safe.
//
// Items that leave are handed to the caller, whose locks their memory must not be freed under: it
// may be the user's.
template <class Batching>
class Backlog {
 public:
  using Item = typename Batching::Item;
  using Message = typename Batching::Message;

  void Add(Item item) {
    waiting_payload_ += Batching::Payload(item);
    waiting_weight_ += Batching::Weight(item);
    queue_.push_back(std::move(item));
  }

  // Adds an item that a message before those of the present call has carried.
  void AddArrived(Item item) {
    item.standing.batch = 0;
    item.standing.sent = true;
    sent_weight_ += Batching::Weight(item);
    ++sent_;
    queue_.push_front(std::move(item));
  }

  // What a message was made of.
  struct Sent {
    std::size_t payload = 0;
    std::size_t weight = 0;
    std::int64_t first_time = 0;  // Frames, positions or samples that had not been sent before,
    std::int64_t again = 0;       // and those that had.
  };
  // Makes `message`, number `batch` of the call, of the first items that wait; see Batching::Fill.
  Sent Fill(const Batching& batching, std::size_t limit, std::int64_t batch, Message& message) {
    const Filled filled = batching.Fill(queue_, sent_, limit, message);
    Sent out{.payload = filled.payload};
    for (std::size_t k = 0; k < filled.taken; ++k, ++sent_) {
      Item& item = queue_[sent_];
      out.weight += Batching::Weight(item);
      (item.standing.sent ? out.again : out.first_time) += Batching::Count(item);
      item.standing.batch = batch;
      item.standing.sent = true;
    }
    waiting_payload_ -= out.payload;
    waiting_weight_ -= out.weight;
    sent_weight_ += out.weight;
    return out;
  }

  // Takes out what messages up to number `batch` have carried.
  void Release(std::int64_t batch, std::vector<Item>& out) {
    while (sent_ > 0 && queue_.front().standing.batch <= batch) TakeFront(out);
  }

  // Takes out the oldest of what messages up to number `batch` have carried, until the items that
  // were sent weigh at most `limit`.
  void Forget(std::size_t limit, std::int64_t batch, std::vector<Item>& out) {
    while (sent_ > 0 && sent_weight_ > limit && queue_.front().standing.batch <= batch) {
      TakeFront(out);
    }
  }

  // Before the first message of a new call: what is `known` counts as carried by message 0, all
  // else waits, in its order. Returns how many of the known had never been sent.
  std::int64_t Restart(const KnownIds& known) {
    std::deque<Item> arrived, rest;
    std::int64_t spared = 0;
    waiting_payload_ = waiting_weight_ = sent_weight_ = 0;
    for (Item& item : queue_) {
      if (Batching::KnownTo(known, item)) {
        if (!item.standing.sent) spared += Batching::Count(item);
        sent_weight_ += Batching::Weight(item);
        item.standing.batch = 0;
        item.standing.sent = true;
        arrived.push_back(std::move(item));
      } else {
        waiting_payload_ += Batching::Payload(item);
        waiting_weight_ += Batching::Weight(item);
        rest.push_back(std::move(item));
      }
    }
    sent_ = arrived.size();
    queue_ = std::move(arrived);
    for (Item& item : rest) queue_.push_back(std::move(item));
    return spared;
  }

  bool empty() const { return queue_.empty(); }
  bool nothing_waits() const { return sent_ == queue_.size(); }
  // The first of those that wait; there is one.
  const Item& next() const { return queue_[sent_]; }
  std::size_t waiting_payload() const { return waiting_payload_; }
  std::size_t waiting_weight() const { return waiting_weight_; }
  std::size_t weight() const { return waiting_weight_ + sent_weight_; }
  // All of them, in the order above.
  std::deque<Item>& items() { return queue_; }

  // Frames, positions or samples: those that wait or were carried by messages after number `batch`,
  // and the others.
  struct Counts {
    std::int64_t unacknowledged = 0;
    std::int64_t acknowledged = 0;
  };
  Counts Count(std::int64_t batch) const {
    Counts out;
    for (std::size_t k = 0; k < queue_.size(); ++k) {
      const bool acknowledged = k < sent_ && queue_[k].standing.batch <= batch;
      (acknowledged ? out.acknowledged : out.unacknowledged) += Batching::Count(queue_[k]);
    }
    return out;
  }

 private:
  void TakeFront(std::vector<Item>& out) {
    sent_weight_ -= Batching::Weight(queue_.front());
    --sent_;
    out.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }

  std::deque<Item> queue_;
  std::size_t sent_ = 0;            // The first so many were sent.
  std::size_t sent_weight_ = 0;     // Of these,
  std::size_t waiting_weight_ = 0;  // and of the others.
  std::size_t waiting_payload_ = 0;
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_BACKLOG_H_
