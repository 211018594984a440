#include "server/journal/state_export.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/io/record_file.h"

namespace ptychoserve::server {

StateExport::StateExport(const state::v1::Manifest& manifest,
                         std::shared_ptr<const Checkpoint> checkpoint,
                         std::unique_ptr<JournalReader> journal, std::uint64_t last)
    : manifest_(manifest.SerializeAsString()),
      checkpoint_(std::move(checkpoint)),
      journal_(std::move(journal)),
      last_(last),
      head_(RecordFileBegin()) {
  if (checkpoint_ != nullptr) checkpoint_records_.emplace(*checkpoint_);
}

absl::StatusOr<std::optional<Record>> StateExport::NextRecord() {
  const std::size_t n = next_++;
  if (n == 0) return MessageRecord(StateKind::kManifest, manifest_);
  if (checkpoint_records_ && n <= checkpoint_records_->records().size()) {
    return checkpoint_records_->records()[n - 1];
  }
  if (ended_) return std::nullopt;
  if (journal_ != nullptr) {
    const auto record = journal_->Next();
    if (record && record->sequence <= last_) {
      ++input_records_;
      return record;
    }
    // When no number is missing, what is torn are records after the last one, that are being
    // written.
    if (input_records_ < last_ &&
        (journal_->unreadable_files() > 0 || (record && journal_->lost_bytes() > 0))) {
      return absl::DataLossError(
          absl::StrCat("the journal is damaged: ", journal_->unreadable_files(),
                       " of its files cannot be read, ", journal_->lost_bytes(),
                       " bytes are lost; export it with omit_input"));
    }
  }
  ended_ = true;
  state::v1::End end;
  end.set_records(records_);
  end_ = end.SerializeAsString();
  return MessageRecord(StateKind::kEnd, end_);
}

absl::Status StateExport::Next(std::size_t most, std::string* out) {
  out->clear();
  while (out->size() < most) {
    if (!head_.empty()) {
      const std::size_t bytes = std::min(most - out->size(), head_.size());
      out->append(head_, 0, bytes);
      head_.erase(0, bytes);
    } else if (!payload_.empty()) {
      const std::size_t bytes = std::min(most - out->size(), payload_.size());
      out->append(reinterpret_cast<const char*>(payload_.data()), bytes);
      payload_ = payload_.subspan(bytes);
    } else {
      PS_ASSIGN_OR_RETURN(const auto record, NextRecord());
      if (!record) break;
      head_ = RecordHeaderBytes(*record);
      payload_ = record->payload;
      ++records_;
    }
  }
  return absl::OkStatus();
}

}  // namespace ptychoserve::server
