#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_SPOOL_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_SPOOL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ptychoserve::client::internal {

// What a spool is to be.
struct SpoolOptions {
  std::string directory;  // Made when it is not there.
  std::string name;       // Of its files: NAME.00000001.spool and so on.
  std::string format;  // Of what its records hold; that of a spool that is there must be the same.
  std::uint64_t max_bytes = std::uint64_t{16} << 30;
};

// A queue on disk: records are appended at its end, read in order, and released, in any order, when
// nobody needs them any more. What was appended and not released is there again for the next spool
// of the same name, also after the process was killed; but it is not synchronised to the disk, so
// that a power failure may cost its last seconds.
//
// It is a row of files of limited size, each with a header and records of
//   RecordHeader, with the id as its sequence | payload
// in the byte order of the machine. A file goes when all of its records were released. All files
// are locked: a second spool of the same name is refused while the first one lives. Not
// thread-safe.
class Spool {
 public:
  struct Record {
    std::uint32_t kind = 0;
    std::int64_t id = 0;
    std::string payload;
  };
  // The file of a record.
  using Ticket = std::uint64_t;
  static constexpr Ticket kNoTicket = 0;

  // Errors: kFailedPrecondition: locked, or of another format; that of the file system.
  static absl::StatusOr<std::unique_ptr<Spool>> Open(SpoolOptions options);
  ~Spool();

  // Appends a record. Errors, by which nothing has changed: kResourceExhausted when max_bytes would
  // be exceeded or the disk is full; that of the file system.
  absl::StatusOr<Ticket> Append(std::uint32_t kind, std::int64_t id,
                                std::span<const std::byte> payload);
  // Takes the record that was just appended as read.
  void SkipLast();

  std::uint64_t unread() const { return unread_; }
  // Payload of the next unread record; there is one.
  std::size_t next_bytes() const;
  struct Read {
    Ticket ticket = kNoTicket;
    bool inherited = false;        // From an earlier spool.
    std::optional<Record> record;  // Unset when it is damaged; it counts as released then.
  };
  // Reads the next unread record; there is one.
  Read Next();
  // Nobody needs the record, which was read, any more.
  void Release(Ticket ticket);

  // Records that were not released.
  std::uint64_t held() const;
  std::uint64_t bytes() const { return bytes_; }
  // Records at the end of inherited files that were not complete, as when a process was killed.
  std::uint64_t torn() const { return torn_; }

 private:
  struct Entry {
    std::uint64_t offset;
    std::uint64_t bytes;
  };
  struct File {
    std::uint64_t number = 0;
    std::string path;
    int fd = -1;
    std::uint64_t end = 0;  // Where the next record goes.
    std::deque<Entry> unread;
    std::uint64_t held = 0;  // Records that are not released.
    bool inherited = false;
  };

  explicit Spool(SpoolOptions options) : options_(std::move(options)) {}
  absl::Status Inherit();
  absl::Status InheritFile(std::uint64_t number, const std::string& path);
  // Notes the records of `file`.
  absl::Status Scan(File& file);
  absl::Status AddFile();
  void RemoveEmptyFiles();
  File* Unread();

  const SpoolOptions options_;
  std::deque<File> files_;  // In the order of their numbers.
  std::uint64_t next_number_ = 1;
  std::uint64_t bytes_ = 0;
  std::uint64_t unread_ = 0;
  std::uint64_t torn_ = 0;
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_SPOOL_H_
