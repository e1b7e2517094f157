"""Write the card of a run, or compare a folder's files with the hashes in its card."""

from keras_vae.commands.output import print_next


def add_arguments(parser):
    parser.add_argument("run", help="run folder")
    parser.add_argument("--licence", help="of the data, as the card is to name it")
    parser.add_argument(
        "--verify", action="store_true", help="compare the files with the card; 1 if one differs"
    )


def main(args):
    from keras_vae.storage import cards
    from keras_vae.storage.runs import Run

    if args.verify:
        faults = cards.verify(args.run)
        for name, fault in faults.items():
            print(f"{name}: {fault or 'as in the card'}")
        return 1 if any(faults.values()) else 0
    print(cards.write(Run(args.run), args.licence))
    print_next("card", "--verify", args.run)
