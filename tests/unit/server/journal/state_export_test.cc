#include "server/journal/state_export.h"

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/io/record_file.h"
#include "tests/temporary_directory.h"

namespace ptychoserve::server {
namespace {

class StateExportTest : public testing::Test {
 protected:
  // A file of the journal with these records, and perhaps one that is being written.
  void Write(const std::string& name, const std::vector<std::uint64_t>& sequences, bool torn) {
    const std::string path = folder_.path() + "/" + name;
    {
      auto writer = RecordWriter::Create(path);
      ASSERT_TRUE(writer.ok()) << writer.status();
      const std::string payload = "input";
      for (const std::uint64_t sequence : sequences) {
        ASSERT_TRUE(writer->Append(1, sequence, std::as_bytes(std::span(payload))).ok());
      }
    }
    if (torn) std::ofstream(path, std::ios::binary | std::ios::app) << "torn";
    segments_.push_back({path});
  }
  // Of the input up to number `last`.
  absl::Status Export(std::uint64_t last) {
    StateExport state(state::v1::Manifest(), nullptr,
                      std::make_unique<JournalReader>(segments_, "a"), last);
    std::string part;
    do {
      if (const absl::Status next = state.Next(1 << 20, &part); !next.ok()) return next;
    } while (!part.empty());
    return absl::OkStatus();
  }

 private:
  TemporaryDirectory folder_;
  std::vector<std::vector<std::string>> segments_;
};

// Threads that write do not wait for each other: the next segment may be begun.
TEST_F(StateExportTest, WhatIsBeingWrittenBehindTheLastRecordIsNoDamage) {
  Write("input-000001-0.rec", {1, 2}, /*torn=*/true);
  Write("input-000002-0.rec", {4}, /*torn=*/false);
  EXPECT_TRUE(Export(2).ok());
}

TEST_F(StateExportTest, ARecordThatIsMissingIs) {
  Write("input-000001-0.rec", {1, 3}, /*torn=*/true);
  Write("input-000002-0.rec", {4}, /*torn=*/false);
  EXPECT_TRUE(absl::IsDataLoss(Export(3)));
}

}  // namespace
}  // namespace ptychoserve::server
